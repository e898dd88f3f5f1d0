//! Regions of this process: memory that JavaScript brought along, pages, objects shared by descriptor, files.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Arc, Mutex};

use linkmesh_memory::grant::GrantError;
use linkmesh_memory::region::{
    Backing, Borrowed, MappedFile, Pages, PagesOptions, RangeRights, Region, RegionError, Rights,
    SharedRegion,
};
use linkmesh_registry::Status;
use linkmesh_transport::identity::random_bytes;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use crate::engine::lock;
use crate::external;
use crate::memory::node;
use crate::mesh::json;
use crate::state::{Failure, Slots, ThreadState};
use crate::transport::{Later, Node, Refusal, parse};

#[cfg(target_os = "linux")]
type Object = Arc<linkmesh_memory::host::SharedObject>;

/// `RegionOptions` of the contract.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegionOptions {
    name: String,
    rights: String,
    #[serde(default)]
    bytes: Option<f64>,
    #[serde(default)]
    max_bytes: Option<f64>,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    compression: Compression,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    #[default]
    None,
    Lz4,
    Zstd,
    Auto,
}

impl From<Compression> for linkmesh_memory::compress::Compression {
    fn from(asked: Compression) -> Self {
        match asked {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
            Compression::Auto => Self::Auto,
        }
    }
}

/// `RegionInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionInfo {
    handle: u32,
    name: String,
    length: u64,
    max_length: u64,
    rights: String,
    epoch: u64,
    kind: &'static str,
    revoked: bool,
}

/// What a region is made of.
#[derive(Clone, Debug)]
enum Memory {
    Borrowed(Arc<SharedRegion<Borrowed>>),
    Pages(Arc<SharedRegion<Pages>>),
    #[cfg(target_os = "linux")]
    Shared(Arc<SharedRegion<Object>>),
    File(Arc<SharedRegion<MappedFile>>),
}

impl Memory {
    fn region(&self) -> Arc<dyn Region> {
        match self {
            Self::Borrowed(region) => region.clone(),
            Self::Pages(region) => region.clone(),
            #[cfg(target_os = "linux")]
            Self::Shared(region) => region.clone(),
            Self::File(region) => region.clone(),
        }
    }

    /// Its name in the contract, and the bytes that it may grow to.
    fn kind(&self) -> (&'static str, u64) {
        match self {
            Self::Borrowed(region) => ("borrowed", region.len()),
            Self::Pages(region) => ("pages", region.backing().capacity()),
            #[cfg(target_os = "linux")]
            Self::Shared(region) => ("shared", region.len()),
            Self::File(region) => ("file", region.backing().capacity()),
        }
    }

    fn grow(&self, length: u64) -> std::result::Result<(), RegionError> {
        match self {
            Self::Pages(region) => region.backing().grow(length),
            Self::File(region) => region.backing().grow(length),
            _ => Err(RegionError::Unsupported {
                what: "to make this kind of region longer: give `maxBytes` when it is made",
            }),
        }
    }

    /// Memory of our own as an `ArrayBuffer` that keeps it.
    fn buffer(&self, env: &Env) -> std::result::Result<Option<sys::napi_value>, Failure> {
        fn own<B: Backing + 'static>(
            env: &Env,
            region: &Arc<SharedRegion<B>>,
        ) -> std::result::Result<Option<sys::napi_value>, Failure> {
            let (base, length) = (region.backing().base(), region.backing().length() as usize);
            // SAFETY: the backing is valid and writable while the region lives, which the buffer keeps; Rust touches it
            // by atomics only.
            unsafe { external::array_buffer(env, base, length, Arc::clone(region)) }.map(Some)
        }
        match self {
            Self::Borrowed(_) => Ok(None),
            Self::Pages(region) => own(env, region),
            #[cfg(target_os = "linux")]
            Self::Shared(region) => own(env, region),
            Self::File(region) => own(env, region),
        }
    }
}

struct OwnRegion {
    name: String,
    rights: Rights,
    memory: Memory,
    /// Keeps what JavaScript brought along from being collected.
    brought: Option<Brought>,
}

impl std::fmt::Debug for OwnRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRegion")
            .field("name", &self.name)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// A reference of one environment: given back there, and nowhere else.
struct Brought {
    thread: u32,
    view: ManuallyDrop<Uint8Array>,
}

impl Brought {
    /// Gives the reference back when `thread` is its own. Elsewhere it stays until that environment ends.
    fn release(mut self, thread: u32) {
        if self.thread == thread {
            // SAFETY: dropped once, because `self` goes; on the thread of its environment.
            unsafe { ManuallyDrop::drop(&mut self.view) };
        }
    }
}

/// All regions of a node, by handle: any of its threads may use any of them.
#[derive(Debug)]
pub(crate) struct Regions(Mutex<Slots<OwnRegion>>);

impl Default for Regions {
    fn default() -> Self {
        Self(Mutex::new(Slots::new()))
    }
}

impl Regions {
    fn get<T>(
        &self,
        handle: u32,
        look: impl FnOnce(&OwnRegion) -> T,
    ) -> std::result::Result<T, Failure> {
        lock(&self.0)
            .get(handle)
            .map(look)
            .ok_or_else(|| Failure::stale("region"))
    }
}

impl Node {
    fn revoke_own(&self, region: OwnRegion, thread: u32) {
        // Waits until no access is running. A node that is closed has no peers that could run one.
        let told = self.with(|app, io| app.memory.revoke_region(io, &region.name));
        if !matches!(told, Some(Ok(_))) {
            region.memory.region().revoke();
        }
        if let Some(brought) = region.brought {
            brought.release(thread);
        }
    }

    /// A thread ends: the memory that it brought along goes with it.
    pub(crate) fn revoke_brought_by(&self, thread: u32) {
        let ended: Vec<OwnRegion> = {
            let mut slots = lock(&self.regions.0);
            let of_thread = |region: &OwnRegion| {
                let brought = region.brought.as_ref();
                brought.is_some_and(|brought| brought.thread == thread)
            };
            let handles = slots.handles(of_thread);
            handles
                .into_iter()
                .filter_map(|handle| slots.remove(handle))
                .collect()
        };
        for region in ended {
            self.revoke_own(region, thread);
        }
    }
}

fn bytes(value: Option<f64>, field: &str) -> std::result::Result<Option<u64>, Failure> {
    let Some(value) = value else { return Ok(None) };
    if value.fract() == 0.0 && (1.0..=9_007_199_254_740_991.0).contains(&value) {
        return Ok(Some(value as u64));
    }
    let wrong = Failure::new(
        Status::InvalidArgument,
        format!("{field} must be a whole number of bytes, at least 1"),
    );
    Err(wrong.field(field).limit(1.0))
}

pub(super) fn rights(text: &str, field: &str) -> std::result::Result<Rights, Failure> {
    Rights::parse(text)
        .filter(|rights| *rights != Rights::NONE)
        .ok_or_else(|| {
            Failure::new(
                Status::InvalidArgument,
                format!("{field} must be some of r, w and a"),
            )
            .field(field)
        })
}

/// Makes the memory that the options describe.
fn own_memory(
    options: &RegionOptions,
    rights: Rights,
    epoch: u64,
) -> std::result::Result<Memory, Failure> {
    let Some(length) = bytes(options.bytes, "bytes")? else {
        return Err(Failure::new(
            Status::InvalidArgument,
            "give memory, or the bytes of a region to make",
        )
        .field("memory"));
    };
    let capacity = bytes(options.max_bytes, "maxBytes")?.unwrap_or(length);
    let refused = |error: RegionError| error.refusal("memory");
    if let Some(path) = &options.file {
        let file = MappedFile::open(Path::new(path), length, capacity).map_err(refused)?;
        return Ok(Memory::File(Arc::new(SharedRegion::new(file, epoch))));
    }
    #[cfg(target_os = "linux")]
    {
        use linkmesh_memory::host::{SharedObject, Sharing};
        // What may only be read can be sealed against everybody else; the seal holds for all grants.
        let sharing = if rights == Rights::READ {
            Sharing::Read
        } else {
            Sharing::ReadWrite
        };
        if capacity == length
            && length <= SharedObject::MAX_BYTES as u64
            && let Ok(object) = SharedObject::create(length as usize, sharing)
        {
            return Ok(Memory::Shared(Arc::new(SharedRegion::new(
                Arc::new(object),
                epoch,
            ))));
        }
    }
    let _ = rights;
    let options = PagesOptions {
        length,
        capacity,
        huge: false,
    };
    let pages = Pages::new(options).map_err(refused)?;
    Ok(Memory::Pages(Arc::new(SharedRegion::new(pages, epoch))))
}

#[napi]
pub fn region_export(env: &Env, mesh: u32, options: String, memory: Option<Uint8Array>) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let thread = state.mesh(mesh)?.peer.id;
        let node = node(state, mesh)?;
        let options: RegionOptions = parse(&options, "options")?;
        let allowed = rights(&options.rights, "options.rights")?;
        // 53 bits, because JavaScript reads it; never the same again for a name.
        let epoch = u64::from_le_bytes(random_bytes()) >> 11;
        let (made, brought) = match memory {
            None => (own_memory(&options, allowed, epoch)?, None),
            Some(mut view) => {
                // SAFETY: the address is only passed on; the region touches the bytes by atomics.
                let (base, length) = unsafe { (view.as_mut().as_mut_ptr(), view.len()) };
                // SAFETY: JavaScript's memory stays where it is while it is referenced, which `Brought` does until the
                // region was revoked; the shell keeps it from being transferred. Its thread's end revokes it before.
                let borrowed = unsafe { Borrowed::new(base, length, Box::new(())) }
                    .map_err(|error| error.refusal("memory"))?;
                let view = ManuallyDrop::new(view);
                (
                    Memory::Borrowed(Arc::new(SharedRegion::new(borrowed, epoch))),
                    Some(Brought { thread, view }),
                )
            }
        };
        let region = made.region();
        let own = OwnRegion {
            name: options.name.clone(),
            rights: allowed,
            memory: made,
            brought,
        };
        let exported = node.with(|app, _| {
            if app.memory.replicated_length(&options.name).is_some() {
                return Err(GrantError::NameTaken);
            }
            let exports = app.memory.exports();
            exports.export(&options.name, region, RangeRights::uniform(allowed))?;
            exports.set_compression(&options.name, options.compression.into())
        });
        let refused = match exported {
            Some(Ok(())) => match lock(&node.regions.0).insert(own) {
                Some(handle) => return Ok(f64::from(handle)),
                None => Failure::new(Status::LimitExceeded, "too many regions").field("regions"),
            },
            Some(Err(error)) => error.refusal("name"),
            None => Failure::new(Status::Closed, "the node was closed"),
        };
        Err(refused)
    })
}

#[napi(ts_return_type = "ArrayBuffer | null")]
pub fn region_memory(env: &Env, mesh: u32, region: u32) -> Option<Unknown<'_>> {
    let value = ThreadState::of(env).edge(|state| {
        let memory = node(state, mesh)?
            .regions
            .get(region, |own| own.memory.clone())?;
        memory.buffer(env)
    });
    let value = value.ok().flatten()?;
    // SAFETY: a value of this environment, just made.
    unsafe { Unknown::from_napi_value(env.raw(), value) }.ok()
}

#[napi]
pub fn region_info(env: &Env, mesh: u32, region: u32) -> String {
    ThreadState::of(env).edge_text(|state| {
        let info = node(state, mesh)?.regions.get(region, |own| {
            let (memory, (kind, max_length)) = (own.memory.region(), own.memory.kind());
            RegionInfo {
                handle: region,
                name: own.name.clone(),
                length: memory.len(),
                max_length,
                rights: own.rights.to_string(),
                epoch: memory.epoch(),
                kind,
                revoked: memory.is_revoked(),
            }
        })?;
        json(&info)
    })
}

#[napi]
pub fn region_grow(env: &Env, mesh: u32, region: u32, length: f64) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let length = bytes(Some(length), "bytes")?.unwrap_or_default();
        let memory = node(state, mesh)?
            .regions
            .get(region, |own| own.memory.clone())?;
        memory
            .grow(length)
            .map_err(|error| error.refusal("bytes"))?;
        Ok(0.0)
    })
}

#[napi(ts_return_type = "Promise<void>")]
pub fn region_sync(env: &Env, mesh: u32, region: u32) -> AsyncTask<Later> {
    let found = node(ThreadState::of(env), mesh)
        .and_then(|node| node.regions.get(region, |own| own.memory.clone()));
    match found {
        Err(failure) => Later::refused(failure),
        Ok(memory) => Later::new(move || {
            if let Memory::File(file) = memory {
                let all = 0..file.len();
                file.backing()
                    .flush(all)
                    .map_err(|error| error.refusal("region"))?;
            }
            Ok(String::new())
        }),
    }
}

#[napi]
pub fn region_revoke(env: &Env, mesh: u32, region: u32) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let thread = state.mesh(mesh)?.peer.id;
        let node = node(state, mesh)?;
        let removed = lock(&node.regions.0).remove(region);
        let own = removed.ok_or_else(|| Failure::stale("region"))?;
        node.revoke_own(own, thread);
        Ok(0.0)
    })
}
