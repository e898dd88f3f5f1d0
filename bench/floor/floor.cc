// The floor: the least that a call from JavaScript into native code costs, written by hand.
//
// Each function exists twice: through node-addon-api, the official C++ wrapper, which is what the addon's
// crossings are held against, and as `raw…` on the C interface under it, which nothing can beat.
#define NAPI_VERSION 8
#define NODE_ADDON_API_DISABLE_DEPRECATED
#include <napi.h>

namespace {

constexpr size_t kTextBytes = 512;

void Empty(const Napi::CallbackInfo&) {}

Napi::Value U32(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), info[0].As<Napi::Number>().Uint32Value());
}

Napi::Value U32U32(const Napi::CallbackInfo& info) {
  uint32_t a = info[0].As<Napi::Number>().Uint32Value();
  uint32_t b = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), a ^ b);
}

Napi::Value Latin1(const Napi::CallbackInfo& info) {
  char text[kTextBytes];
  size_t length = 0;
  napi_get_value_string_latin1(info.Env(), info[0], text, sizeof text, &length);
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(length));
}

template <size_t N>
struct Arguments {
  napi_value values[N == 0 ? 1 : N];
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
};

napi_value Number(napi_env env, uint32_t value) {
  napi_value result;
  napi_create_uint32(env, value, &result);
  return result;
}

napi_value RawEmpty(napi_env, napi_callback_info) { return nullptr; }

napi_value RawU32(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  uint32_t value = 0;
  napi_get_value_uint32(env, arguments.values[0], &value);
  return Number(env, value);
}

napi_value RawU32U32(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  uint32_t a = 0;
  uint32_t b = 0;
  napi_get_value_uint32(env, arguments.values[0], &a);
  napi_get_value_uint32(env, arguments.values[1], &b);
  return Number(env, a ^ b);
}

napi_value RawLatin1(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  char text[kTextBytes];
  size_t length = 0;
  napi_get_value_string_latin1(env, arguments.values[0], text, sizeof text, &length);
  return Number(env, static_cast<uint32_t>(length));
}

void SetRaw(Napi::Env env, Napi::Object exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("empty", Napi::Function::New<Empty>(env));
  exports.Set("u32", Napi::Function::New<U32>(env));
  exports.Set("u32u32", Napi::Function::New<U32U32>(env));
  exports.Set("latin1", Napi::Function::New<Latin1>(env));
  SetRaw(env, exports, "rawEmpty", RawEmpty);
  SetRaw(env, exports, "rawU32", RawU32);
  SetRaw(env, exports, "rawU32U32", RawU32U32);
  SetRaw(env, exports, "rawLatin1", RawLatin1);
  return exports;
}

}  // namespace

NODE_API_MODULE(floor, Init)
