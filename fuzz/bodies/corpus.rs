//! The inputs that are kept for each target.

use std::path::Path;

/// Gives every file of the corpus of `target` to its body.
pub(crate) fn replay(target: &str, body: fn(&[u8])) {
    // The packages that replay lie at different depths.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = (package.ancestors().map(|folder| folder.join("fuzz/corpus")))
        .find(|root| root.is_dir())
        .expect("the corpora");
    let mut count = 0;
    for entry in std::fs::read_dir(root.join(target)).expect("a corpus") {
        let path = entry.expect("an entry").path();
        // Shown when the body panics.
        println!("{}", path.display());
        body(&std::fs::read(path).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}
