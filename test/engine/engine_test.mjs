// engine_test.mjs ISOCHRONE - a real engine end to end: our tiny model, llama.cpp behind tiny_server.mjs,
// `isochrone gateway` in front of it and OpenAI's own client asking. Speaks TAP.
//
// The same questions are asked of the engine directly and then through the gateway: what differs is
// the gateway's doing. Nothing here depends on how fast this machine is.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { make_gguf } from "./make_gguf.mjs";

const START_MS_MAX = 60000; // far above what anything here takes; reached only when something hangs
const LONG_TOKENS = 3000;
const here = dirname(fileURLToPath(import.meta.url));

// ---- TAP.

let count = 0;
let failed = 0;
function check(good, label, detail) {
  count++;
  if (!good) failed++;
  console.log(`${good ? "" : "not "}ok ${count} - ${label}`);
  if (!good && detail !== undefined) console.log(`# ${JSON.stringify(detail)}`);
}

// ---- Processes.

const children = [];

/** Start a program and wait until a line of its output matches; resolves with the match. */
function start(command, words, pattern) {
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return new Promise((resolve, reject) => {
    let seen = "";
    const timer = setTimeout(() => reject(new Error(`${command} ${words[0]}: not ready: ${seen}`)), START_MS_MAX);
    const look = (part) => {
      seen += part;
      const match = seen.match(pattern);
      if (match) {
        clearTimeout(timer);
        resolve(match);
      }
    };
    child.stdout.on("data", look);
    child.stderr.on("data", look);
    child.on("exit", (code) => reject(new Error(`${command} ${words[0]}: ended with ${code}: ${seen}`)));
  });
}

/** A port that was free a moment ago. */
const free_port = () => new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

const until = async (what, label) => {
  for (const end = Date.now() + START_MS_MAX; Date.now() < end;) {
    if (await what()) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  check(false, `${label}: never came`);
  return false;
};

// ---- The model file.

function check_generator() {
  const hash = (options) => createHash("sha256").update(make_gguf(options)).digest("hex");
  const plain = hash({});
  check(hash({}) === plain, "the same options give the same model file");
  for (const options of [{ seed: 2 }, { layers: 3 }, { name: "other" }, { mix: 0.2 }, { stop: 0.5 }])
    check(hash(options) !== plain, `other options give another: ${JSON.stringify(options)}`);
  let refused = false;
  try {
    make_gguf({ width: 100 });
  } catch {
    refused = true;
  }
  check(refused, "sizes that do not fit are refused");
}

// ---- Questions, asked of whoever is behind the client.

const question = {
  model: "tiny", seed: 7, max_tokens: 40,
  messages: [{ role: "system", content: "You live by the sea." },
    { role: "user", content: "When does the ferry go?" }],
};

async function collect(stream, piece_of) {
  const all = { text: "", finishes: [], usages: [], chunks: 0 };
  for await (const chunk of stream) {
    all.chunks++;
    if (chunk.usage) all.usages.push(chunk.usage);
    for (const choice of chunk.choices) {
      all.text += piece_of(choice) ?? "";
      if (choice.finish_reason) all.finishes.push(choice.finish_reason);
    }
  }
  return all;
}

async function ask_chat(client, who) {
  const reply = await client.chat.completions.create(question);
  const content = reply.choices[0].message.content;
  check(reply.object === "chat.completion" && reply.model === "tiny", `${who}: chat`, reply);
  check(/[a-z]{3,} [a-z]+/.test(content), `${who}: it says words`, content);
  check(["stop", "length"].includes(reply.choices[0].finish_reason), `${who}: and ends`, reply);
  check(reply.usage.prompt_tokens > 10 && reply.usage.completion_tokens > 0 &&
    reply.usage.total_tokens === reply.usage.prompt_tokens + reply.usage.completion_tokens,
  `${who}: usage`, reply.usage);

  const piece_of = (choice) => choice.delta.content;
  const plain = await collect(await client.chat.completions.create({ ...question, stream: true }), piece_of);
  check(plain.text === content, `${who}: the stream says the same`, [plain.text, content]);
  check(plain.finishes.length === 1 && plain.finishes[0] === reply.choices[0].finish_reason,
    `${who}: one finish reason`, plain.finishes);
  check(plain.usages.length === 0, `${who}: no usage unless asked for`, plain.usages);
  const asked = await collect(await client.chat.completions.create(
    { ...question, stream: true, stream_options: { include_usage: true } }), piece_of);
  check(asked.usages.length === 1 && asked.usages[0].completion_tokens === reply.usage.completion_tokens,
    `${who}: usage at the end when asked for`, asked.usages);
  check(asked.text === content, `${who}: and the same words`, asked.text);
}

async function ask_completion(client, who) {
  const body = { model: "tiny", prompt: "the old bridge", seed: 3, max_tokens: 24 };
  const reply = await client.completions.create(body);
  check(reply.object === "text_completion" && reply.choices[0].text.length > 0, `${who}: completion`, reply);
  const stream = await collect(await client.completions.create({ ...body, stream: true }),
    (choice) => choice.text);
  check(stream.text === reply.choices[0].text, `${who}: completion stream`, [stream.text, reply.choices[0].text]);
}

async function ask_models(client, who) {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  check(ids.includes("tiny"), `${who}: models`, ids);
}

const slots_busy = async (engine) =>
  (await (await fetch(`${engine}/slots`)).json()).filter((slot) => slot.is_processing).length;
const tokens_predicted = async (engine) =>
  Number((await (await fetch(`${engine}/metrics`)).text()).match(/^llamacpp:tokens_predicted_total (\d+)$/m)[1]);

/** The client leaves in the middle of a long answer: the engine must stop, not finish it. */
async function leave(client, who, engine) {
  const before = await tokens_predicted(engine);
  const stream = await client.chat.completions.create(
    { ...question, max_tokens: LONG_TOKENS, ignore_eos: true, stream: true });
  let chunks = 0;
  for await (const chunk of stream)
    if (chunk.choices[0]?.delta.content && ++chunks === 3) break; // leaving the loop aborts the request
  check(chunks === 3, `${who}: a long answer began`);
  if (!await until(async () => await slots_busy(engine) === 0, `${who}: the slot is free again`)) return;
  const spent = await tokens_predicted(engine) - before;
  check(spent < LONG_TOKENS, `${who}: the engine stopped when the client left`, spent);
}

async function main() {
  check_generator();
  const folder = mkdtempSync(join(tmpdir(), "isochrone-engine-"));
  try {
    writeFileSync(join(folder, "tiny.gguf"), make_gguf());
    const [, engine] = await start(process.execPath,
      [join(here, "tiny_server.mjs"), "--model", join(folder, "tiny.gguf")], /listening on (http:\S+)/);
    const direct = new OpenAI({ baseURL: `${engine}/v1`, apiKey: "none" });
    await ask_models(direct, "engine");
    await ask_chat(direct, "engine");
    await ask_completion(direct, "engine");
    await leave(direct, "engine", engine);
  } catch (error) {
    check(false, "nothing is thrown", String(error.stack));
  } finally {
    for (const child of children) child.kill("SIGTERM");
    rmSync(folder, { recursive: true });
  }
  console.log(`1..${count}`);
  process.exit(failed ? 1 : 0);
}

await main();
