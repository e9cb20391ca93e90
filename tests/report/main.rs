//! The outputs of a run, from a stored `run.json` to a page in a real browser.
mod browser;
mod outputs;
mod synthetic;
