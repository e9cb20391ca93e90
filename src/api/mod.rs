//! Who answers which request, and how: one file per API, from the decoded request to the response.
pub mod admin;
