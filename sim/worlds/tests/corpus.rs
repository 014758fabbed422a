//! Replays the corpus of the fuzz target for plans.

#[path = "../../../fuzz/bodies/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/bodies/plan_text.rs"]
mod plan_text;

#[test]
fn the_corpus_of_plans_holds() {
    corpus::replay("plan_text", plan_text::plan_text);
}
