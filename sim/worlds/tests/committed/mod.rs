//! Texts that are committed and compared.

/// Compares with the text that is committed at `path`, or writes it there if `CHATROOM_GOLDEN` is
/// `write`.
pub(crate) fn compare(path: &str, text: &str) {
    if std::env::var("CHATROOM_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(path, text).expect("it can be written");
    }
    let committed = std::fs::read_to_string(path).expect("it is there");
    let differ = committed.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        committed == text,
        "{path} is out of date: {differ:?}; run this test with CHATROOM_GOLDEN=write and see what changed"
    );
}
