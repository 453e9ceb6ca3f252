#!/usr/bin/env node
// make_gguf.mjs - write a tiny but complete model of llama's architecture as a GGUF file, so that a real
// engine can be tested without fetching a model from anywhere.
//
//   node make_gguf.mjs --out tiny.gguf [--seed 1] [--layers 2] [--context 8192] ...
//
// Nothing is trained: the weights are constructed. Every word of the text below gets a row of a
// Hadamard matrix as its embedding. Those rows are exactly orthogonal, so the output matrix can be
// written down: its row for word b is the sum over words a of (gain + log P(b follows a)) times a's row,
// divided by their length. The model is then a bigram model of the text, and what it says reads like
// sentences. Attention and feed-forward add a little noise of their own, so that every answer depends on
// the whole prompt and a prefix cache has something to be right or wrong about.
//
// The vocabulary is every beginning of every word. SentencePiece's merging then has one way to go,
// letter by letter from the left, and needs no learned merges.
//
// The file is a pure function of the options: same options, same bytes (engine_test.mjs holds it).
// Arithmetic is + - * / and Math.log, which V8 computes by the same code on every machine.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

export const defaults = {
  name: "tiny", // general.name
  seed: 1, // of the noise
  layers: 2,
  width: 256, // of the embedding; a power of two, greater than the number of different words
  forward: 256, // of the feed-forward part
  heads: 4,
  kv_heads: 2,
  context: 8192, // tokens the model says it can take
  gain: 13, // logit of a word that follows, above one that never does
  mix: 0.3, // size of what the layers add, against the embedding
  stop: 0.2, // chance that an answer ends after a sentence
};

const TEXT = `
the harbour opens before the sun is over the hill .
a small boat brings the letters from the island every morning .
the pilot knows the way , and the tide knows the time .
a ship that comes late waits outside until the next tide .
the shortest way is not always the way that takes the least time .
wind and water decide how long a mile is .
on the map the two towns are near , but the road between them is slow .
the train goes around the mountain and is there before the bus .
we measured the road in minutes and drew a new map .
on the new map the far town is near and the near town is far .
a good guide tells you when you will be there , not how far it is .
the baker has bread when the clock says seven .
ask the baker first , and ask the other one when the queue is long .
a queue tells you more than a sign .
the old bridge is open , but only one cart may cross it at once .
the ferry carries ten carts and goes when it is full .
when the bridge is closed everybody goes to the ferry , and the ferry is late .
the keeper of the bridge writes down who came and when .
the keeper of the ferry does the same , and they compare what they wrote .
if they do not agree they ask the miller , who saw it all from the hill .
trust the one whose word was right the last time .
a promise is a time and a place .
the clock on the tower is right twice a day , and the miller knows when .
night comes first to the valley and last to the hill .
in the south the market ends when the market in the north begins .
so there is always a market somewhere , and always a road that is free .
take the road that is free .
you will be there before the others .
`;

// ---- The text as words, and what follows what.

const sentences = TEXT.trim().split("\n").map((line) => line.split(" "));
const words = [...new Set(sentences.flat())];
const piece = (word) => (/^[a-z]/.test(word) ? "\u2581" + word : word); // U+2581 is the visible blank

const TURN = "<|turn|>";
const END = "<|end|>";
const ELSEWHERE = "(elsewhere)"; // any token that is no whole word: an answer begins after it

function successors(stop) {
  const counts = new Map([...words, ELSEWHERE].map((word) => [word, new Map()]));
  const see = (a, b, n = 1) => counts.get(a).set(b, (counts.get(a).get(b) ?? 0) + n);
  for (const sentence of sentences) {
    see(ELSEWHERE, sentence[0]);
    see(".", sentence[0]);
    sentence.slice(1).forEach((word, i) => see(sentence[i], word));
  }
  see(".", END, (sentences.length * stop) / (1 - stop));
  return counts;
}

// ---- Vocabulary. Types as GGUF numbers them.

const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6;

function vocabulary() {
  const tokens = [["<unk>", UNKNOWN], ["<s>", CONTROL], ["</s>", CONTROL], [TURN, CONTROL], [END, CONTROL]];
  for (let i = 0; i < 256; i++)
    tokens.push([`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, BYTE]);
  const pieces = new Set(["\u2581"]);
  for (let i = 33; i < 127; i++) pieces.add(String.fromCharCode(i));
  for (const word of words.map(piece))
    for (let end = 1; end <= word.length; end++) pieces.add(word.slice(0, end));
  for (const text of pieces) tokens.push([text, NORMAL]);
  return tokens;
}

// ---- Numbers.

/** A generator of small noise: xorshift on 32 bits; four uniform numbers make one nearly normal one. */
function noise(seed) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) | 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
  const deviation = Math.sqrt(4 / 12);
  return (scale) => ((uniform() + uniform() + uniform() + uniform() - 2) / deviation) * scale;
}

/** Entry (row, column) of the Hadamard matrix: 1 or -1 by the parity of the bits they share. */
function hadamard(row, column) {
  let shared = row & column;
  for (const shift of [16, 8, 4, 2, 1]) shared ^= shared >>> shift;
  return shared & 1 ? -1 : 1;
}

function tensors(o, tokens) {
  const draw = noise(o.seed);
  const index = new Map(tokens.map(([text], i) => [text, i]));
  const row_of = new Map([...words, ELSEWHERE].map((word, i) => [word, i + 1]));
  if (row_of.size >= o.width) throw new RangeError(`width ${o.width} must exceed ${row_of.size} words`);

  const word_of = new Map(words.map((word) => [index.get(piece(word)), word]));
  const embedding = new Float32Array(tokens.length * o.width);
  for (let token = 0; token < tokens.length; token++) {
    const row = row_of.get(word_of.get(token) ?? ELSEWHERE);
    const blur = word_of.has(token) ? 0 : 0.4; // letters differ a little: the prompt matters
    for (let c = 0; c < o.width; c++)
      embedding[token * o.width + c] = hadamard(row, c) + (blur ? draw(blur) : 0);
  }

  const output = new Float32Array(tokens.length * o.width);
  for (const [a, nexts] of successors(o.stop)) {
    const total = [...nexts.values()].reduce((sum, n) => sum + n, 0);
    for (const [b, n] of nexts) {
      const start = index.get(b === END ? END : piece(b)) * o.width;
      const share = (o.gain + Math.log(n / total)) / o.width;
      for (let c = 0; c < o.width; c++) output[start + c] += share * hadamard(row_of.get(a), c);
    }
  }

  const ones = Float32Array.from({ length: o.width }, () => 1);
  const matrix = (rows, columns, gain) =>
    [Float32Array.from({ length: rows * columns }, () => draw(gain / Math.sqrt(columns))), [columns, rows]];
  const kv_width = (o.width / o.heads) * o.kv_heads;
  const list = [["token_embd.weight", embedding, [o.width, tokens.length]],
    ["output_norm.weight", ones, [o.width]], ["output.weight", output, [o.width, tokens.length]]];
  const mix = o.mix / Math.sqrt(Math.max(1, o.layers));
  for (let i = 0; i < o.layers; i++) {
    const add = (name, [data, shape]) => list.push([`blk.${i}.${name}.weight`, data, shape]);
    add("attn_norm", [ones, [o.width]]);
    add("attn_q", matrix(o.width, o.width, 1.5));
    add("attn_k", matrix(kv_width, o.width, 1.5));
    add("attn_v", matrix(kv_width, o.width, 1));
    add("attn_output", matrix(o.width, o.width, 2 * mix));
    add("ffn_norm", [ones, [o.width]]);
    add("ffn_gate", matrix(o.forward, o.width, 1));
    add("ffn_up", matrix(o.forward, o.width, 1));
    add("ffn_down", matrix(o.width, o.forward, 2 * mix));
  }
  return list;
}

// ---- The file: GGUF version 3, little-endian; head, then tensors at multiples of 32 bytes.

const ALIGN = 32;
const bytes_of = (length, method, value) => {
  const buffer = Buffer.alloc(length);
  buffer[method](value);
  return buffer;
};
const u32 = (value) => bytes_of(4, "writeUInt32LE", value);
const u64 = (value) => bytes_of(8, "writeBigUInt64LE", BigInt(value));
const f32 = (value) => bytes_of(4, "writeFloatLE", value);
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const pad = (length) => Buffer.alloc((ALIGN - (length % ALIGN)) % ALIGN);

/** How each type of metadata is numbered and written. */
const TYPES = {
  u32: [4, u32],
  i32: [5, (value) => bytes_of(4, "writeInt32LE", value)],
  f32: [6, f32],
  bool: [7, (value) => Buffer.from([value ? 1 : 0])],
  text: [8, text],
};
const entry = (key, type, value) => Buffer.concat([text(key), u32(TYPES[type][0]), TYPES[type][1](value)]);
const list_entry = (key, type, values) => Buffer.concat([text(key), u32(9), u32(TYPES[type][0]),
  u64(values.length), ...values.map(TYPES[type][1])]);

/** As prompt() in tiny_server.mjs writes a conversation, for engines that read it from the file. */
const CHAT_TEMPLATE =
  `{% for m in messages %}{{ '${TURN}' + m.role + '\\n' + m.content + '${END}\\n' }}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '${TURN}assistant\\n' }}{% endif %}`;

function metadata(o, tokens) {
  const token = (text) => tokens.findIndex(([t]) => t === text);
  return [
    entry("general.architecture", "text", "llama"),
    entry("general.name", "text", o.name),
    entry("general.file_type", "u32", 0), // all numbers are float
    entry("llama.context_length", "u32", o.context),
    entry("llama.embedding_length", "u32", o.width),
    entry("llama.block_count", "u32", o.layers),
    entry("llama.feed_forward_length", "u32", o.forward),
    entry("llama.attention.head_count", "u32", o.heads),
    entry("llama.attention.head_count_kv", "u32", o.kv_heads),
    entry("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
    entry("llama.rope.dimension_count", "u32", o.width / o.heads),
    entry("llama.vocab_size", "u32", tokens.length),
    entry("tokenizer.ggml.model", "text", "llama"),
    entry("tokenizer.ggml.pre", "text", "default"),
    list_entry("tokenizer.ggml.tokens", "text", tokens.map(([t]) => t)),
    list_entry("tokenizer.ggml.scores", "f32", tokens.map((_, i) => -i)),
    list_entry("tokenizer.ggml.token_type", "i32", tokens.map(([, type]) => type)),
    entry("tokenizer.ggml.unknown_token_id", "u32", token("<unk>")),
    entry("tokenizer.ggml.bos_token_id", "u32", token("<s>")),
    entry("tokenizer.ggml.eos_token_id", "u32", token("</s>")),
    entry("tokenizer.ggml.eot_token_id", "u32", token(END)),
    entry("tokenizer.ggml.add_bos_token", "bool", true),
    entry("tokenizer.ggml.add_eos_token", "bool", false),
    entry("tokenizer.ggml.add_space_prefix", "bool", false),
    entry("tokenizer.chat_template", "text", CHAT_TEMPLATE),
  ];
}

/** The whole file as a Buffer. Throws RangeError when the sizes do not fit each other. */
export function make_gguf(options = {}) {
  const o = { ...defaults, ...options };
  if (o.width & (o.width - 1) || o.width % (2 * o.heads) || o.heads % o.kv_heads || o.forward % 32)
    throw new RangeError("width: a power of two that heads divide; heads: a multiple of kv_heads; forward: of 32");
  const tokens = vocabulary();
  const list = tensors(o, tokens);
  const values = metadata(o, tokens);
  const heads = [];
  const blobs = [];
  let offset = 0;
  for (const [name, data, shape] of list) {
    heads.push(text(name), u32(shape.length), ...shape.map(u64), u32(0), u64(offset)); // 0: float
    blobs.push(Buffer.from(data.buffer), pad(data.byteLength));
    offset += data.byteLength + pad(data.byteLength).length;
  }
  const head = Buffer.concat([Buffer.from("GGUF"), u32(3), u64(list.length), u64(values.length),
    ...values, ...heads]);
  return Buffer.concat([head, pad(head.length), ...blobs]);
}

function main(words) {
  const options = {};
  let out = null;
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i].replace(/^--/, "");
    const value = words[i + 1];
    if (name === "out") out = value;
    else if (name in defaults && value !== undefined)
      options[name] = typeof defaults[name] === "number" ? Number(value) : value;
    else throw new RangeError(`unknown option ${words[i]}; known: out ${Object.keys(defaults).join(" ")}`);
  }
  if (!out) throw new RangeError("say where: --out FILE");
  writeFileSync(out, make_gguf(options));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    console.error(`make_gguf: ${error.message}`);
    process.exit(2);
  }
}
