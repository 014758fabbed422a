//! Replays the corpus of the fuzz target for recordings.

#[path = "../../fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../../fuzz/bodies/record_file.rs"]
mod record_file;

#[test]
fn the_corpus_of_recordings_holds() {
    corpus::replay("record_file", record_file::record_file);
}
