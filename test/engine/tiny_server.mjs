#!/usr/bin/env node
// tiny_server.mjs - a real engine for tests and the demo: llama.cpp (prebuilt, through node-llama-cpp)
// behind the routes, names and quirks of llama-server, so that a gateway takes it for one.
//
//   node tiny_server.mjs --model tiny.gguf [--port 0] [--alias tiny] [--slots 4] [--context 4096]
//
// It prints "listening on http://127.0.0.1:PORT" when it can answer; SIGTERM ends it. Loopback only.
//
// Quirks kept on purpose: the `model` of a request is ignored, malformed JSON answers 500, headers come
// with the first token only, and the connection is closed after a stream although keep-alive was said.
//
// One thread computes: with more threads than idle cores llama.cpp spins at its barriers and becomes
// hundreds of times slower. Requests in different slots still share each step of the engine.
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { getLlama } from "node-llama-cpp";

const BODY_BYTES_MAX = 4 << 20;
const OUTPUT_TOKENS_DEFAULT = 256;

const options = { model: "tiny.gguf", port: "0", alias: "tiny", slots: "4", context: "4096" };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, "");
  if (!(name in options) || process.argv[i + 1] === undefined) {
    console.error(`tiny_server: ${process.argv[i]}? known: --${Object.keys(options).join(" --")}`);
    process.exit(2);
  }
  options[name] = process.argv[i + 1];
}

const llama = await getLlama({ build: "never", gpu: false, maxThreads: 1, logLevel: "error" });
const model = await llama.loadModel({ modelPath: options.model });
const context = await model.createContext({
  contextSize: Number(options.context), sequences: Number(options.slots), threads: 1,
});

// ---- Slots: a sequence of tokens each, kept after a request as its prefix cache.

const slots = Array.from({ length: Number(options.slots) }, (_, id) =>
  ({ id, sequence: context.getSequence(), busy: false, prompt_tokens: 0 }));
const waiting = []; // { tokens, take }
const totals = { prompt: 0, cached: 0, predicted: 0, prompt_ms: 0, predicted_ms: 0 };

const common = (slot, tokens) => slot.sequence.compareContextTokens(tokens).firstDifferentIndex;

/** A slot for these tokens, the free one that holds most of them already; waits while all are busy. */
function take_slot(tokens) {
  const free = slots.filter((slot) => !slot.busy);
  if (free.length === 0) return new Promise((take) => waiting.push({ tokens, take }));
  const best = free.reduce((a, b) => (common(b, tokens) > common(a, tokens) ? b : a));
  best.busy = true;
  return Promise.resolve(best);
}

function give_slot(slot) {
  slot.prompt_tokens = 0;
  const next = waiting.shift();
  if (next) next.take(slot); // stays busy, for the next in line
  else slot.busy = false;
}

// ---- Requests.

class Refusal extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

const text_of = (content) =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");

/** The prompt as text; conversations as the file's chat template writes them. */
function prompt(body, chat) {
  if (!chat) return String(body.prompt ?? "");
  if (!Array.isArray(body.messages))
    throw new Refusal(400, "invalid_request_error", "'messages' is required");
  return body.messages.map((m) => `<|turn|>${m.role}\n${text_of(m.content)}<|end|>\n`).join("") +
    "<|turn|>assistant\n";
}

/** One answer: yields each piece of text and leaves usage and timings in `told`. */
async function* answer(slot, tokens, body, told) {
  const limit = Math.min(body.max_completion_tokens ?? body.max_tokens ?? OUTPUT_TOKENS_DEFAULT,
    context.contextSize - tokens.length);
  const began = performance.now();
  let first = 0;
  let count = 0;
  await slot.sequence.adaptStateToTokens(tokens.slice(0, -1), false);
  const cached = slot.sequence.nextTokenIndex;
  slot.prompt_tokens = tokens.length;
  told.finish = "length";
  try {
    const steps = slot.sequence.evaluate(tokens.slice(cached), {
      temperature: body.temperature ?? 0.8, topP: body.top_p ?? 0.95, seed: body.seed,
      yieldEogToken: true,
    });
    for await (const token of steps) {
      first ||= performance.now();
      if (model.isEogToken(token) && !body.ignore_eos) {
        told.finish = "stop";
        break;
      }
      count++;
      slot.prompt_tokens++;
      yield model.detokenize([token], false, slot.sequence.contextTokens.slice(-4));
      if (count >= limit) break;
    }
  } finally {
    const ended = performance.now();
    first ||= ended;
    told.usage = {
      prompt_tokens: tokens.length, completion_tokens: count, total_tokens: tokens.length + count,
      prompt_tokens_details: { cached_tokens: cached },
    };
    told.timings = {
      cache_n: cached, prompt_n: tokens.length - cached, prompt_ms: first - began,
      predicted_n: count, predicted_ms: ended - first,
    };
    totals.prompt += tokens.length - cached;
    totals.cached += cached;
    totals.predicted += count;
    totals.prompt_ms += first - began;
    totals.predicted_ms += ended - first;
  }
}

/** How one kind of reply is worded: a chunk of a stream, and the whole. */
function wording(chat) {
  const head = {
    id: (chat ? "chatcmpl-" : "cmpl-") + randomBytes(12).toString("hex"),
    created: Math.floor(Date.now() / 1000), model: options.alias,
  };
  const choice = (rest) => [{ index: 0, logprobs: null, ...rest }];
  return {
    opening: () => chat && { ...head, object: "chat.completion.chunk",
      choices: choice({ delta: { role: "assistant", content: null }, finish_reason: null }) },
    chunk: (content, finish_reason) => ({ ...head, object: chat ? "chat.completion.chunk" : "text_completion",
      choices: choice(chat ? { delta: content === "" ? {} : { content }, finish_reason }
        : { text: content, finish_reason }) }),
    usage: ({ usage, timings }) => ({ ...head, object: chat ? "chat.completion.chunk" : "text_completion",
      choices: [], usage, timings }),
    whole: (content, { finish, usage, timings }) => ({ ...head,
      object: chat ? "chat.completion" : "text_completion",
      choices: choice(chat ? { message: { role: "assistant", content }, finish_reason: finish }
        : { text: content, finish_reason: finish }), usage, timings }),
  };
}

async function complete(body, chat, res) {
  const tokens = [model.tokens.bos, ...model.tokenize(prompt(body, chat), true)];
  if (tokens.length >= context.contextSize)
    throw new Refusal(400, "exceed_context_size_error",
      `the request has ${tokens.length} tokens, the context ${context.contextSize}`);
  let gone = false;
  res.on("close", () => { gone = true; });
  const slot = await take_slot(tokens);
  const words = wording(chat);
  const told = {};
  let whole = "";
  try {
    const send = (data) => res.write(`data: ${JSON.stringify(data)}\n\n`);
    for await (const piece of answer(slot, tokens, body, told)) {
      if (gone) return; // the client left: the slot is free at once
      if (body.stream && !res.headersSent) {
        res.writeHead(200, { "content-type": "text/event-stream", "x-accel-buffering": "no" });
        if (chat) send(words.opening());
      }
      if (body.stream) send(words.chunk(piece, null));
      else whole += piece;
    }
    if (gone) return;
    if (!body.stream) return reply(res, 200, words.whole(whole, told));
    if (!res.headersSent) res.writeHead(200, { "content-type": "text/event-stream" });
    send(words.chunk("", told.finish));
    if (body.stream_options?.include_usage) send(words.usage(told));
    res.end("data: [DONE]\n\n", () => res.socket?.end());
  } finally {
    give_slot(slot);
  }
}

// ---- HTTP.

function reply(res, status, body) {
  res.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  res.end(JSON.stringify(body));
}

const refuse = (res, status, type, message) =>
  reply(res, status, { error: { code: status, message, type } });

const metrics = () => [
  ["prompt_tokens_total", "counter", totals.prompt],
  ["prompt_tokens_cached_total", "counter", totals.cached],
  ["prompt_seconds_total", "counter", totals.prompt_ms / 1000],
  ["tokens_predicted_total", "counter", totals.predicted],
  ["tokens_predicted_seconds_total", "counter", totals.predicted_ms / 1000],
  ["requests_processing", "gauge", slots.filter((slot) => slot.busy).length],
  ["requests_deferred", "gauge", waiting.length],
].map(([name, type, value]) => `# TYPE llamacpp:${name} ${type}\nllamacpp:${name} ${value}\n`).join("");

const routes = {
  "GET /health": (res) => reply(res, 200, { status: "ok" }),
  "GET /v1/models": (res) => reply(res, 200, { object: "list", data: [{
    id: options.alias, object: "model", created: 0, owned_by: "llamacpp",
    meta: { n_vocab: model.fileInfo.metadata.llama?.vocab_size, n_ctx_train: model.trainContextSize },
  }] }),
  "GET /props": (res) => reply(res, 200, {
    default_generation_settings: { n_ctx: context.contextSize }, total_slots: slots.length,
    model_alias: options.alias, model_path: options.model, is_sleeping: false,
    chat_template: model.fileInfo.metadata.tokenizer?.chat_template ?? "",
  }),
  "GET /slots": (res) => reply(res, 200, slots.map((slot) => ({
    id: slot.id, n_ctx: context.contextSize, is_processing: slot.busy,
    n_prompt_tokens: slot.prompt_tokens,
  }))),
  "GET /metrics": (res) => {
    res.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
    res.end(metrics());
  },
  "POST /v1/chat/completions": (res, body) => complete(body, true, res),
  "POST /v1/completions": (res, body) => complete(body, false, res),
};

async function read_json(req) {
  const parts = [];
  let bytes = 0;
  for await (const part of req) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new Refusal(413, "invalid_request_error", "body too large");
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (error) {
    throw new Refusal(500, "server_error", `parse error: ${error.message}`);
  }
}

const server = createServer(async (req, res) => {
  try {
    const route = routes[`${req.method} ${new URL(req.url, "http://engine").pathname}`];
    if (!route) throw new Refusal(404, "not_found_error", "File Not Found");
    await route(res, req.method === "POST" ? await read_json(req) : null);
  } catch (error) {
    if (res.headersSent || res.destroyed) res.destroy();
    else refuse(res, error.status ?? 500, error.type ?? "server_error", String(error.message));
  }
});
server.listen(Number(options.port), "127.0.0.1", () =>
  console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
