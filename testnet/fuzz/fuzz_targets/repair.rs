//! `repair::{Question, Answer}::decode`: what is accepted encodes to the same bytes.
#![no_main]

use protocol::repair::{Answer, Question};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(question) = Question::decode(input) {
        assert_eq!(question.encode(), input);
    }
    if let Ok(answer) = Answer::decode(input) {
        assert_eq!(answer.encode(), input);
    }
});
