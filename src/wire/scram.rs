//! SCRAM (RFC 5802, RFC 7677): what is made of a password, and the text that Kafka keeps of it.
//!
//! In: a password, a salt, rounds. Out: the salted password, which is sent; the two keys made of that, which are kept. The
//! password cannot be had back from either.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// Rounds below this are refused, by clients and brokers.
pub const ITERATIONS_MIN: i32 = 4096;

/// A mechanism of Kafka's (KIP-84).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    pub const ALL: [Mechanism; 2] = [Mechanism::Sha256, Mechanism::Sha512];

    /// Its number in requests (KIP-554).
    pub fn number(self) -> i8 {
        match self {
            Mechanism::Sha256 => 1,
            Mechanism::Sha512 => 2,
        }
    }

    /// Its name, which is also its key in the settings of a user.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Sha256 => "SCRAM-SHA-256",
            Mechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn of_number(number: i8) -> Option<Mechanism> {
        Self::ALL.into_iter().find(|mechanism| mechanism.number() == number)
    }

    pub fn of_name(name: &str) -> Option<Mechanism> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    fn mac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length will do");
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Mechanism::Sha256 => mac::<Hmac<Sha256>>(key, text),
            Mechanism::Sha512 => mac::<Hmac<Sha512>>(key, text),
        }
    }

    /// `Hi` of RFC 5802: PBKDF2 with one block.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
        let mut round = self.mac(password, &[salt, &[0, 0, 0, 1]].concat());
        let mut salted = round.clone();
        for _ in 1..iterations {
            round = self.mac(password, &round);
            salted.iter_mut().zip(&round).for_each(|(byte, other)| *byte ^= other);
        }
        salted
    }

    /// The text that is kept of a credential, as Kafka writes it.
    pub fn kept(self, iterations: i32, salt: &[u8], salted_password: &[u8]) -> String {
        let client_key = self.mac(salted_password, b"Client Key");
        let stored_key = match self {
            Mechanism::Sha256 => Sha256::digest(client_key).to_vec(),
            Mechanism::Sha512 => Sha512::digest(client_key).to_vec(),
        };
        let server_key = self.mac(salted_password, b"Server Key");
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        format!(
            "salt={},stored_key={},server_key={},iterations={iterations}",
            text(salt),
            text(&stored_key),
            text(&server_key)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_example_in_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = Mechanism::Sha256.salted_password(b"pencil", &salt, 4096);
        assert_eq!(STANDARD.encode(&salted), "xKSVEDI6tPlSysH6mUQZOeeOp01r6B3fcJbodRPcYV0=");
        assert_eq!(
            Mechanism::Sha256.kept(4096, &salt, &salted),
            "salt=W22ZaJ0SNY7soEsUEjb6gQ==,stored_key=WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,\
             server_key=wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,iterations=4096"
        );
    }
}
