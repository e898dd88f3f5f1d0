//! Simulations, on a thread of the pool.

use linkmesh_simulator::simulate_json;
use napi::bindgen_prelude::*;
use napi_derive::napi;

/// Runs while the event loop goes on.
pub struct Simulation {
    request: String,
}

impl Task for Simulation {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        // A refusal is an answer: it says which field is wrong.
        Ok(simulate_json(&self.request).unwrap_or_else(|refused| {
            serde_json::json!({ "error": { "field": refused.field, "message": refused.to_string() } }).to_string()
        }))
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn simulate(request: String) -> AsyncTask<Simulation> {
    AsyncTask::new(Simulation { request })
}
