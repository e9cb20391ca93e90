//! Messages as tables: each API's request and response is declared once, as fields with the versions they exist in.
//!
//! In: a table (`message!`) and its API (`api!`). Out: a struct that borrows its strings and bytes, its decoder
//! (bounded by the reader's budget), its encoder and its size, for both directions: the broker reads requests and
//! writes responses; tools, the load generator and the replica fetcher do the reverse.

use std::ops::RangeInclusive;

use crate::wire::primitive::{Counter, DecodeError, Field, Reader, Version};

pub mod allocate_producer_ids;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_protocol;
pub mod controlled_shutdown;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leader_and_isr;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod stop_replica;
pub mod sync_group;
pub mod update_features;
pub mod update_metadata;

/// A request or a response of one API.
pub trait Message<'a>: Field<'a> + Default {
    /// The API key (contract 1.2).
    const KEY: i16;
    /// The versions the table describes; what a broker serves and advertises can be narrower.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482); `i16::MAX` where there is none.
    const FLEXIBLE: i16;

    /// How version `number` of this API is encoded.
    fn version(number: i16) -> Version {
        Version { number, flexible: number >= Self::FLEXIBLE }
    }

    /// Reads the message at `number`. Bytes behind it are ignored, as Kafka does (contract 9).
    fn decode(r: &mut Reader<'a>, number: i16) -> Result<Self, DecodeError> {
        Self::read(r, Self::version(number), false)
    }

    /// Appends the message, encoded at `number`, to `out`.
    fn encode(&self, out: &mut Vec<u8>, number: i16) {
        self.write(out, Self::version(number), false);
    }

    /// Encoded size in bytes at `number`.
    fn size(&self, number: i16) -> usize {
        let mut counter = Counter::default();
        self.write(&mut counter, Self::version(number), false);
        counter.0
    }
}

/// A request, and the response that answers it.
pub trait Request<'a>: Message<'a> {
    type Response<'r>: Message<'r>;
}

/// Declares which API a request and its response belong to.
macro_rules! api {
    ($key:literal, $request:ident $(<$a:lifetime>)?, $response:ident $(<$b:lifetime>)?,
     versions $versions:expr, flexible $flexible:expr) => {
        impl<'a> $crate::wire::message::Message<'a> for $request $(<$a>)? {
            const KEY: i16 = $key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE: i16 = $flexible;
        }
        impl<'a> $crate::wire::message::Message<'a> for $response $(<$b>)? {
            const KEY: i16 = $key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE: i16 = $flexible;
        }
        impl<'a> $crate::wire::message::Request<'a> for $request $(<$a>)? {
            type Response<'r> = $crate::wire::message::response!($response $(, $b)?);
        }
    };
}

/// The response type with the lifetime of the trait's `Response<'r>`, or without one.
macro_rules! response {
    ($response:ident, $lifetime:lifetime) => { $response<'r> };
    ($response:ident) => { $response };
}

/// Declares structs as tables of fields: `name: type [versions, null versions, default value, tag number];`
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        $visible:vis struct $name:ident $(<$lifetime:lifetime>)? {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $ty:ty
                    [$versions:expr $(, null $nullable:expr)? $(, default $default:expr)? $(, tag $tag:literal)?];
            )*
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $visible struct $name $(<$lifetime>)? {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl $(<$lifetime>)? Default for $name $(<$lifetime>)? {
            fn default() -> Self {
                $name { $($field: message!(@default $($default)?),)* }
            }
        }

        impl<'a> $crate::wire::primitive::Field<'a> for $name $(<$lifetime>)? {
            fn encoded_min(v: $crate::wire::primitive::Version) -> usize {
                let mut bytes = usize::from(v.flexible);
                $(
                    if message!(@untagged $($tag)?) && message!(@in $versions, v) {
                        bytes += <$ty as $crate::wire::primitive::Field<'a>>::encoded_min(v);
                    }
                )*
                bytes
            }

            fn read(
                r: &mut $crate::wire::primitive::Reader<'a>,
                v: $crate::wire::primitive::Version,
                _: bool,
            ) -> Result<Self, $crate::wire::primitive::DecodeError> {
                #[allow(unused_mut)]
                let mut value = Self::default();
                $(
                    if message!(@untagged $($tag)?) && message!(@in $versions, v) {
                        value.$field =
                            $crate::wire::primitive::Field::read(r, v, message!(@nullable v $(, $nullable)?))?;
                    }
                )*
                if v.flexible {
                    r.tagged(|_tag, _r| {
                        $(
                            if message!(@tag _tag $(, $tag)?) && message!(@in $versions, v) {
                                value.$field = $crate::wire::primitive::Field::read(
                                    _r, v, message!(@nullable v $(, $nullable)?))?;
                                return Ok(true);
                            }
                        )*
                        Ok(false)
                    })?;
                }
                Ok(value)
            }

            fn write<S: $crate::wire::primitive::Sink>(
                &self,
                s: &mut S,
                v: $crate::wire::primitive::Version,
                _: bool,
            ) {
                $(
                    if message!(@untagged $($tag)?) && message!(@in $versions, v) {
                        $crate::wire::primitive::Field::write(&self.$field, s, v, message!(@nullable v $(, $nullable)?));
                    }
                )*
                if v.flexible {
                    #[allow(unused_mut)]
                    let mut present = 0u32;
                    $(
                        message!(@when_tagged $($tag)? => {
                            if message!(@in $versions, v) && self.$field != message!(@typed $ty, $($default)?) {
                                present += 1;
                            }
                        });
                    )*
                    $crate::wire::primitive::put_uvarint(s, present);
                    $(
                        message!(@when_tagged $($tag)? => {
                            if message!(@in $versions, v) && self.$field != message!(@typed $ty, $($default)?) {
                                let mut counter = $crate::wire::primitive::Counter::default();
                                let nullable = message!(@nullable v $(, $nullable)?);
                                $crate::wire::primitive::Field::write(&self.$field, &mut counter, v, nullable);
                                $crate::wire::primitive::put_uvarint(s, message!(@number $($tag)?));
                                $crate::wire::primitive::put_uvarint(s, counter.0 as u32);
                                $crate::wire::primitive::Field::write(&self.$field, s, v, nullable);
                            }
                        });
                    )*
                }
            }
        }
    )+};

    (@default) => { Default::default() };
    (@default $value:expr) => { $value };
    (@typed $ty:ty,) => { <$ty>::default() };
    (@typed $ty:ty, $value:expr) => { $value };
    (@in $versions:expr, $v:ident) => { std::ops::RangeBounds::<i16>::contains(&($versions), &$v.number) };
    (@nullable $v:ident) => { false };
    (@nullable $v:ident, $versions:expr) => { message!(@in $versions, $v) };
    (@untagged) => { true };
    (@untagged $tag:literal) => { false };
    (@tag $actual:ident) => { false };
    (@tag $actual:ident, $tag:literal) => { $actual == $tag };
    (@number) => { 0 };
    (@number $tag:literal) => { $tag };
    (@when_tagged => $body:block) => {};
    (@when_tagged $tag:literal => $body:block) => { $body };
}

pub(crate) use {api, message, response};
