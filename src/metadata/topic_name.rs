//! Names of topics (contract 1.3): which are legal, which collide, which belong to Kafka itself.
//!
//! In: any text. Out: nothing, or the reason in the words Kafka's own tools and clients know.

/// The longest name: `name-partition` and a suffix must fit into a file name.
pub const NAME_BYTES_MAX: usize = 249;

/// The topics that groups and transactions keep their state in.
pub const INTERNAL: [&str; 2] = [OFFSETS, TRANSACTIONS];
/// Groups and their offsets.
pub const OFFSETS: &str = "__consumer_offsets";
/// Transactional ids and what they are in the middle of.
pub const TRANSACTIONS: &str = "__transaction_state";

/// A topic of Kafka's controllers without ZooKeeper; nobody may create it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Why a topic cannot have this name.
pub fn check(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." {
        "'.' is not allowed".to_owned()
    } else if name == ".." {
        "'..' is not allowed".to_owned()
    } else if name.chars().map(char::len_utf16).sum::<usize>() > NAME_BYTES_MAX {
        format!("the length of '{name}' is longer than the max allowed length {NAME_BYTES_MAX}")
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(format!("Topic name is invalid: {reason}"))
}

/// True when the name has a character that metrics write as another one.
pub fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// The form in which two names collide: metrics write `.` as `_`.
pub fn collision_form(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_into_a_directory_are_legal_and_others_say_why() {
        for name in ["a", "a.b_c-D9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let why = |name: &str| check(name).unwrap_err();
        assert_eq!(why(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(why("."), "Topic name is invalid: '.' is not allowed");
        assert_eq!(why(".."), "Topic name is invalid: '..' is not allowed");
        assert!(why(&"x".repeat(250)).ends_with("longer than the max allowed length 249"));
        for name in ["a/b", "a b", "é", "a\0", "a:b"] {
            assert!(why(name).ends_with("other than ASCII alphanumerics, '.', '_' and '-'"), "{name}");
        }
    }

    #[test]
    fn a_dot_and_an_underscore_collide() {
        assert_eq!(collision_form("a.b_c"), collision_form("a_b.c"));
        assert!(has_collision_chars("a.b") && !has_collision_chars("a-b"));
    }
}
