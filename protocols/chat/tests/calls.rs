//! Any calls in any order, and one stream in any cutting: the bodies of the fuzz targets under
//! proptest, and over their corpora.

#[path = "../../../fuzz/bodies/core_calls.rs"]
mod core_calls;
#[path = "../../../fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/bodies/frame_wire.rs"]
mod frame_wire;

use proptest::prelude::*;

#[test]
fn the_corpora_of_the_core_hold() {
    corpus::replay("core_calls", core_calls::core_calls);
    corpus::replay("frame_wire", frame_wire::frame_wire);
}

/// Bytes that make many lines: pieces of valid ones, whole ones, and anything.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"ping 0\n".to_vec()),
        Just(b"ping 2\n".to_vec()),
        Just(b"msg 0 a b\n".to_vec()),
        Just(b"msg 2  x\xc3\xa4 \n".to_vec()),
        Just(b"broadcast  y\xe2\x82\xac\n".to_vec()),
        Just(b"get\n".to_vec()),
        Just(b"alive\n".to_vec()),
        Just(b"watch\n".to_vec()),
        Just(b"crash\n".to_vec()),
        Just(b"msg 0 ".to_vec()),
        Just(b"broadcast ".to_vec()),
        Just(vec![b'z'; 50]),
        Just(b"\n".to_vec()),
        prop::collection::vec(any::<u8>(), 1..5),
    ];
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_in_any_order_keep_every_bound_and_never_panic(
        data in prop::collection::vec(any::<u8>(), 0..600)
    ) {
        core_calls::core_calls(&data);
    }

    #[test]
    fn cutting_a_stream_changes_nothing(
        kind in 0..3u8,
        cuts in prop::collection::vec(any::<u8>(), 8),
        stream in stream(),
    ) {
        frame_wire::frame_wire(&[&[kind, 8], &cuts[..], &stream[..]].concat());
    }
}
