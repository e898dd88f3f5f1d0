//! The control stream: HELLO, ACCEPT, GOODBYE and a joiner's message. The same frames wherever the bytes are cut, and what
//! is decoded encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| linkmesh_transport::core::fuzz_control_stream(input));
