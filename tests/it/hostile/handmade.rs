//! Plugins that no compiler makes, written by hand as text.

/// A transform, in parts; what is not given is as a good one has it.
pub(super) struct Handmade {
    /// Items of the component before the guest's module, such as imports and types.
    pub(super) outside: &'static str,
    /// Size of its memory in pages: the first, and the largest.
    pub(super) memory: &'static str,
    /// Fields of the guest's module.
    pub(super) inside: &'static str,
    /// Body of `configure`. It answers "fine" after it, unless it returns before.
    pub(super) configure: &'static str,
    /// What the module is given beside the contract's functions.
    pub(super) given: &'static str,
    /// Body of `apply`, with the payload's handle in `$payload`. It answers "fine" after it, unless it returns before.
    pub(super) apply: &'static str,
    /// Canonical options of `apply`.
    pub(super) options: &'static str,
    /// What the component exports, and items for it.
    pub(super) exports: &'static str,
}

const EXPORTS: &str = r#"(export "runhook:plugin/lifecycle@1.0.0" (instance $lifecycle))
  (export "runhook:plugin/transform@1.0.0" (instance $transform))"#;

impl Default for Handmade {
    fn default() -> Self {
        Self {
            outside: "",
            memory: "16",
            inside: "",
            configure: "",
            given: "",
            apply: "(call $payload.drop (local.get $payload))",
            options: "",
            exports: EXPORTS,
        }
    }
}

impl Handmade {
    /// One whose `apply` does this.
    pub(super) fn applying(apply: &'static str) -> Self {
        Self { apply, ..Self::default() }
    }

    /// One whose `apply` may draw with `$random.bytes` and `$random.number`.
    pub(super) fn drawing(apply: &'static str) -> Self {
        Self {
            outside: r#"
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (core func $random.bytes (canon lower (func $random "get-random-bytes")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $random.number (canon lower (func $random "get-random-u64")))"#,
            inside: r#"
  (import "random" "bytes" (func $random.bytes (param i64 i32)))
  (import "random" "number" (func $random.number (result i64)))
  (import "libc" "reset" (func $libc.reset))"#,
            given: r#"
  (with "random" (instance (export "bytes" (func $random.bytes)) (export "number" (func $random.number))))"#,
            apply,
            ..Self::default()
        }
    }

    /// Asks for 1 TiB at once.
    pub(super) const A_GIANT_DRAW: &str = "(call $random.bytes (i64.const 0x10000000000) (i32.const 128))";

    /// The component.
    pub(super) fn bytes(&self) -> Vec<u8> {
        component(&self.text())
    }

    /// The component's text.
    pub(super) fn text(&self) -> String {
        let Self { outside, memory, inside, configure, given, apply, options, exports } = self;
        format!(
            r#"(component
  (import "runhook:plugin/document@1.0.0" (instance $document
    (export "run" (type $run (sub resource)))
    (export "payload" (type $payload (sub resource)))
    (export "[method]run.id" (func (param "self" (borrow $run)) (result string)))
    (export "[method]payload.run" (func
      (param "self" (borrow $payload)) (param "index" u32) (result (option (own $run)))))
    (export "[method]payload.text" (func
      (param "self" (borrow $payload)) (param "pointer" string) (result (option string))))))
  (alias export $document "run" (type $run))
  (alias export $document "payload" (type $payload))
  (core module $libc
    (memory (export "memory") {memory})
    (global $free (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3))))
    (func (export "reset") (global.set $free (i32.const 8192))))
  (core instance $libc (instantiate $libc))
  {outside}
  (core func $run.drop (canon resource.drop $run))
  (core func $payload.drop (canon resource.drop $payload))
  (core func $run.id (canon lower (func $document "[method]run.id")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $payload.run (canon lower (func $document "[method]payload.run") (memory $libc "memory")))
  (core func $payload.text (canon lower (func $document "[method]payload.text")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $guest
    (import "libc" "memory" (memory 0))
    (import "host" "run.drop" (func $run.drop (param i32)))
    (import "host" "payload.drop" (func $payload.drop (param i32)))
    (import "host" "run.id" (func $run.id (param i32 i32)))
    (import "host" "payload.run" (func $payload.run (param i32 i32 i32)))
    (import "host" "payload.text" (func $payload.text (param i32 i32 i32 i32)))
    {inside}
    (data (i32.const 16) "{{}}")
    (func (export "describe") (result i32)
      (i32.store (i32.const 32) (i32.const 16))
      (i32.store (i32.const 36) (i32.const 2))
      (i32.const 32))
    (func (export "configure") (param i32 i32) (result i32)
      {configure}
      (i32.const 64))
    (func (export "apply") (param $payload i32) (result i32)
      {apply}
      (i32.const 64)))
  (core instance $guest (instantiate $guest
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "run.drop" (func $run.drop))
      (export "payload.drop" (func $payload.drop))
      (export "run.id" (func $run.id))
      (export "payload.run" (func $payload.run))
      (export "payload.text" (func $payload.text))))
    {given}))
  (func $describe (result string) (canon lift (core func $guest "describe") (memory $libc "memory")))
  (func $configure (param "config" string) (result (result (error string)))
    (canon lift (core func $guest "configure") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (func $apply (param "payload" (borrow $payload)) (result (result (error string)))
    (canon lift (core func $guest "apply") (memory $libc "memory") {options}))
  (instance $lifecycle (export "describe" (func $describe)) (export "configure" (func $configure)))
  (instance $transform (export "apply" (func $apply)))
  {exports})"#
        )
    }
}

/// A component out of its text.
pub(super) fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}
