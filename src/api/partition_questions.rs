//! Requests that ask one thing of each of several partitions: DeleteRecords, OffsetForLeaderEpoch, DescribeProducers.
//!
//! In: topics and partitions of a request. Out: the questions for their owners, and, with the answers, the rows of a response in
//! the order of the request.

use crate::api::admin::Context;
use crate::ids::Home;
use crate::metadata::{Answer, Question, Topic};
use crate::wire::error_code::ErrorCode;

/// What is asked, and where each answer goes.
#[derive(Debug, Default)]
pub struct Asked {
    topics: Vec<(String, Vec<Row>)>,
    pub questions: Vec<(Home, Question)>,
}

#[derive(Debug)]
struct Row {
    partition: i32,
    /// The place of its question, or why none was asked.
    place: Result<usize, ErrorCode>,
}

impl Asked {
    /// The partitions that follow belong to this topic.
    pub fn topic(&mut self, name: &str) {
        self.topics.push((name.to_owned(), Vec::new()));
    }

    /// Asks one partition of the last topic.
    pub fn partition(
        &mut self,
        ctx: &Context<'_>,
        partition: i32,
        question: impl FnOnce(&Topic) -> Result<Question, ErrorCode>,
    ) {
        let (name, rows) = self.topics.last_mut().expect("a topic comes first");
        let found = ctx.image.topic(name);
        let place = match found.filter(|topic| topic.partition(partition).is_some()) {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(topic) => question(topic).and_then(|question| {
                self.questions.push((ctx.image.home(topic, partition)?, question));
                Ok(self.questions.len() - 1)
            }),
        };
        rows.push(Row { partition, place });
    }

    /// Each topic with a row of the response for each of its partitions.
    pub fn rows<'a, R>(
        &'a self,
        answers: &'a [Answer],
        row: impl Fn(i32, &Answer) -> R + 'a,
    ) -> impl Iterator<Item = (&'a str, Vec<R>)> + 'a {
        self.topics.iter().map(move |(name, rows)| {
            let rows = rows.iter().map(|Row { partition, place }| {
                let refused;
                let answer = match place {
                    Ok(place) => &answers[*place],
                    Err(code) => {
                        refused = Answer::Refused(*code);
                        &refused
                    }
                };
                row(*partition, answer)
            });
            (name.as_str(), rows.collect())
        })
    }
}
