//! Reading arguments and making results, by one Node-API call each.

use std::mem::MaybeUninit;
use std::ptr;

use napi::sys;

/// UTF-16 units read without allocating; longer strings take the heap.
const STACK_UNITS: usize = 256;
/// Longest string that any function here accepts, in UTF-16 units.
const MAX_UNITS: usize = 1 << 20;

/// Arguments of a call: as many as the function declares, missing ones are `undefined`.
#[derive(Clone, Copy)]
pub(crate) struct Args<const N: usize> {
    pub(crate) env: sys::napi_env,
    pub(crate) count: usize,
    pub(crate) values: [sys::napi_value; N],
}

/// Why a string is in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextError {
    /// Not a string at all.
    NotText,
    /// A surrogate without its partner has no UTF-8 form.
    LoneSurrogate,
    /// More than [`MAX_UNITS`].
    TooLong,
}

impl<const N: usize> Args<N> {
    /// The argument as `u32`, or `None` when it is not a number. Fractions are cut, as `x >>> 0` does.
    #[inline(always)]
    pub(crate) fn u32(&self, index: usize) -> Option<u32> {
        let mut value = 0;
        // SAFETY: `env` and the value belong to the running call; `value` is a valid place to write.
        let status =
            unsafe { sys::napi_get_value_uint32(self.env, self.values[index], &raw mut value) };
        (status == sys::Status::napi_ok).then_some(value)
    }

    /// The argument as `f64`, or `None` when it is not a number.
    #[inline(always)]
    pub(crate) fn f64(&self, index: usize) -> Option<f64> {
        let mut value = 0.0;
        // SAFETY: as in `u32`.
        let status =
            unsafe { sys::napi_get_value_double(self.env, self.values[index], &raw mut value) };
        (status == sys::Status::napi_ok).then_some(value)
    }

    /// Calls `f` with the argument's UTF-8 bytes, and whether they are all ASCII.
    #[inline(always)]
    pub(crate) fn text<R>(
        &self,
        index: usize,
        f: impl FnOnce(&[u8], bool) -> R,
    ) -> Result<R, TextError> {
        text(self.env, self.values[index], f)
    }

    /// Bytes of a typed array, `DataView` excluded. The slice lives as long as the call: nothing may call back
    /// into JavaScript while it is held.
    #[inline(always)]
    pub(crate) fn bytes(&self, index: usize) -> Option<&mut [u8]> {
        self.array(index, Some(sys::TypedarrayType::uint8_array))
    }

    /// As [`bytes`](Self::bytes) without asking V8 for the kind, which is a chain of questions: of an array with longer
    /// elements it is as many bytes as there are elements.
    #[inline(always)]
    pub(crate) fn bytes_of_any(&self, index: usize) -> Option<&mut [u8]> {
        self.array(index, None)
    }

    #[inline(always)]
    pub(crate) fn words(&self, index: usize) -> Option<&mut [u32]> {
        self.array(index, Some(sys::TypedarrayType::uint32_array))
    }

    #[inline(always)]
    pub(crate) fn doubles(&self, index: usize) -> Option<&mut [f64]> {
        self.array(index, Some(sys::TypedarrayType::float64_array))
    }

    #[inline(always)]
    pub(crate) fn longs(&self, index: usize) -> Option<&mut [u64]> {
        self.array(index, Some(sys::TypedarrayType::biguint64_array))
    }

    /// `wanted`: the kind whose elements are `T`; none only for bytes, which every kind has.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is JavaScript's, not borrowed from the argument list"
    )]
    fn array<T>(
        &self,
        index: usize,
        wanted: Option<sys::napi_typedarray_type>,
    ) -> Option<&mut [T]> {
        let mut kind = 0;
        let mut length = 0;
        let mut data = ptr::null_mut();
        // SAFETY: `env` and the value belong to the running call; each out pointer is valid or null, which
        // the function allows.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                self.values[index],
                if wanted.is_some() {
                    &raw mut kind
                } else {
                    ptr::null_mut()
                },
                &raw mut length,
                &raw mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok || wanted.is_some_and(|wanted| kind != wanted) {
            return None;
        }
        if length == 0 || data.is_null() {
            return Some(&mut []);
        }
        // SAFETY: V8 says that `length` elements of this kind, or bytes and more of any, start at `data`, aligned for the
        // kind. They stay in place during the call, because nothing below a hot function runs JavaScript.
        Some(unsafe { std::slice::from_raw_parts_mut(data.cast::<T>(), length) })
    }
}

/// Reads a JavaScript string once as UTF-16 and hands out its UTF-8 bytes.
///
/// Latin-1 would be as cheap but lossy: Node-API drops the high byte of each unit without a word.
#[inline(always)]
pub(crate) fn text<R>(
    env: sys::napi_env,
    value: sys::napi_value,
    f: impl FnOnce(&[u8], bool) -> R,
) -> Result<R, TextError> {
    let mut units = [const { MaybeUninit::<u16>::uninit() }; STACK_UNITS];
    let mut count = 0;
    // SAFETY: the buffer has STACK_UNITS units; the call writes at most that many, a NUL included, and
    // reports how many precede the NUL.
    let status = unsafe {
        sys::napi_get_value_string_utf16(
            env,
            value,
            units.as_mut_ptr().cast(),
            STACK_UNITS,
            &raw mut count,
        )
    };
    if status != sys::Status::napi_ok {
        return Err(TextError::NotText);
    }
    if count >= STACK_UNITS - 1 {
        return long_text(env, value, f);
    }
    // SAFETY: the first `count` units were written by the call above.
    let units = unsafe { std::slice::from_raw_parts(units.as_ptr().cast::<u16>(), count) };
    let mut bytes = [const { MaybeUninit::<u8>::uninit() }; STACK_UNITS];
    let mut seen = 0;
    for (byte, unit) in bytes.iter_mut().zip(units) {
        seen |= unit;
        byte.write(*unit as u8);
    }
    if seen < 0x80 {
        // SAFETY: the loop wrote the first `count` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), count) };
        return Ok(f(bytes, true));
    }
    let text = String::from_utf16(units).map_err(|_| TextError::LoneSurrogate)?;
    Ok(f(text.as_bytes(), false))
}

#[cold]
fn long_text<R>(
    env: sys::napi_env,
    value: sys::napi_value,
    f: impl FnOnce(&[u8], bool) -> R,
) -> Result<R, TextError> {
    let mut length = 0;
    // SAFETY: a null buffer asks for the length only.
    unsafe { sys::napi_get_value_string_utf16(env, value, ptr::null_mut(), 0, &raw mut length) };
    if length > MAX_UNITS {
        return Err(TextError::TooLong);
    }
    let mut units = vec![0u16; length + 1];
    let mut count = 0;
    // SAFETY: the buffer has room for `length` units and the NUL.
    unsafe {
        sys::napi_get_value_string_utf16(
            env,
            value,
            units.as_mut_ptr(),
            units.len(),
            &raw mut count,
        )
    };
    let text = String::from_utf16(&units[..count]).map_err(|_| TextError::LoneSurrogate)?;
    Ok(f(text.as_bytes(), text.is_ascii()))
}

/// Buffers for a batch of strings, kept by the thread so that a batch allocates only while they grow.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    units: Vec<u16>,
    bytes: Vec<u8>,
}

/// Many strings read as one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Joint<'a> {
    Ascii(&'a [u8]),
    Units(&'a [u16]),
}

impl Batch {
    /// Reads the string; `None` when it is none or longer than 16 Mi units.
    pub(crate) fn read(&mut self, env: sys::napi_env, value: sys::napi_value) -> Option<Joint<'_>> {
        const MOST: usize = 1 << 24;
        const KEEP: usize = 1 << 16;
        if self.units.len() < 1_024 || self.units.len() > KEEP {
            self.units.resize(1_024, 0);
            self.units.shrink_to(KEEP);
        }
        let mut count = 0;
        loop {
            // SAFETY: the buffer has `len` units; the call writes at most that many, a NUL included.
            let status = unsafe {
                sys::napi_get_value_string_utf16(
                    env,
                    value,
                    self.units.as_mut_ptr(),
                    self.units.len(),
                    &raw mut count,
                )
            };
            if status != sys::Status::napi_ok {
                return None;
            }
            if count + 1 < self.units.len() {
                break;
            }
            if self.units.len() >= MOST {
                return None;
            }
            self.units.resize(self.units.len() * 4, 0);
        }
        let units = &self.units[..count];
        if units.iter().fold(0, |seen, unit| seen | unit) >= 0x80 {
            return Some(Joint::Units(units));
        }
        self.bytes.clear();
        self.bytes.extend(units.iter().map(|unit| *unit as u8));
        Some(Joint::Ascii(&self.bytes))
    }
}

/// A JavaScript number. Small integers by the cheap constructor.
#[inline(always)]
pub(crate) fn number(env: sys::napi_env, value: i64) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: `env` belongs to the running call and `result` is a valid place to write.
    unsafe {
        if let Ok(small) = i32::try_from(value) {
            sys::napi_create_int32(env, small, &raw mut result);
        } else {
            sys::napi_create_double(env, value as f64, &raw mut result);
        }
    }
    result
}
