//! DescribeLogDirs (key 35), contract 1.3: request and response as tables of fields.

use std::borrow::Cow;

use crate::wire::array::Array;
use crate::wire::message::{api, message};

api!(35, DescribeLogDirsRequest<'a>, DescribeLogDirsResponse<'a>, versions 0..=4, flexible 2);

message! {
    pub struct DescribeLogDirsRequest<'a> {
        topics: Option<Array<'a, DescribeLogDirsRequestTopic<'a>>> [.., null ..];
    }

    pub struct DescribeLogDirsRequestTopic<'a> {
        topic: &'a str [..];
        partitions: Array<'a, i32> [..];
    }

    pub struct DescribeLogDirsResponse<'a> {
        throttle_time_ms: i32 [..];
        error_code: i16 [3..];
        results: Vec<DescribeLogDirsResponseResult<'a>> [..];
    }

    pub struct DescribeLogDirsResponseResult<'a> {
        error_code: i16 [..];
        log_dir: Cow<'a, str> [..];
        topics: Vec<DescribeLogDirsResponseResultTopic<'a>> [..];
        total_bytes: i64 [4.., default -1];
        usable_bytes: i64 [4.., default -1];
    }

    pub struct DescribeLogDirsResponseResultTopic<'a> {
        name: Cow<'a, str> [..];
        partitions: Vec<DescribeLogDirsResponseResultTopicPartition> [..];
    }

    pub struct DescribeLogDirsResponseResultTopicPartition {
        partition_index: i32 [..];
        partition_size: i64 [..];
        offset_lag: i64 [..];
        is_future_key: bool [..];
    }
}
