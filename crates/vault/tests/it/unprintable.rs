//! What must not compile, without a second build of everything: a type that had one of these traits would make the
//! name `some` below ambiguous, and this file would not compile. That a permit is needed is shown in the crate's
//! documentation (`compile_fail`, beside the same lines with a permit, which do compile).

use std::fmt::{Debug, Display};

macro_rules! lacks {
    ($($type:ty: $trait:path),* $(,)?) => { $(const _: () = {
        trait Either<A> {
            fn some() {}
        }
        impl<T: ?Sized> Either<()> for T {}
        struct Has;
        impl<T: ?Sized + $trait> Either<Has> for T {}
        let _ = <$type as Either<_>>::some;
    };)* };
}

lacks!(
    secret::Secret: Debug,
    secret::Secret: Display,
    secret::Secret: Clone,
    secret::Secret: serde::Serialize,
    secret::Material: Debug,
    secret::Material: Clone,
    secret::Material: serde::Serialize,
    secret::Credential: Debug,
    secret::Credential: Display,
    secret::Credential: Clone,
    secret::Credential: serde::Serialize,
    vault::KeyringChoice: Debug,
    vault::Vault: Debug,
    policy::Permit: Clone,
);
