//! Real programs behind real pseudo-terminals: one end plays the user, the other is "the user's terminal".

#[cfg(test)]
mod codes;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod prompts;
#[cfg(test)]
mod relaying;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod user;
