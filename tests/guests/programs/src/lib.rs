//! Empty: the guests are the examples, one file each. The tutorial's code is compiled from here.

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/plugins.md")]
struct Tutorial;
