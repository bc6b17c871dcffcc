//! The real binary, driven from outside.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod import;
#[cfg(test)]
mod scan;
