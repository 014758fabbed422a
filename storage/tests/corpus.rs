//! Replays the corpus of the fuzz target for files of records.

#[path = "../../fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../../fuzz/bodies/storage_file.rs"]
mod storage_file;

#[test]
fn the_corpus_of_files_holds() {
    corpus::replay("storage_file", storage_file::storage_file);
}
