// The official TypeScript SDK against a gateway: node run.mjs GATEWAY SANDBOX LABEL core|all
//
// GATEWAY is the base URL with its prefix; SANDBOX is the provider behind it, which answers are held against. LABEL
// makes the names of failing models this run's own. Prints one JSON object: case -> null, or what went wrong.

import assert from "node:assert/strict";
import { File } from "node:buffer";
import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

globalThis.File ??= File; // Node 18, as the SDK itself advises

const [gateway, sandbox, label, extent] = process.argv.slice(2);
const MODEL = "claude-sandbox";
const TIMEOUT_MS = 30_000;

const connect = (baseURL, options = {}) =>
  new Anthropic({ baseURL, apiKey: "test", maxRetries: 0, timeout: TIMEOUT_MS, ...options });
const client = connect(gateway);
const direct = connect(sandbox);

const user = (content) => ({ role: "user", content });
const plain = (value) => JSON.parse(JSON.stringify(value));
const asked = (text, more = {}) => ({ model: MODEL, max_tokens: 200, messages: [user(text)], ...more });
const textOf = (message) => message.content.map((block) => block.text ?? "").join("");
const collect = async (iterable) => {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
};
const same = async (call) => {
  const [got, expected] = await Promise.all([call(client), call(direct)]);
  assert.deepEqual(plain(got), plain(expected));
  return got;
};
const inTime = (promise) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it never ended")), TIMEOUT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const refused = async (promise) => {
  const error = await promise.then(() => null, (reason) => reason);
  assert.ok(error instanceof Error, "it was not refused");
  return error;
};

const weather = (run) =>
  betaTool({
    name: "get_weather",
    description: "The weather in a city",
    inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    run,
  });

// Requests of a client, as it sends them.
const overheard = (options = {}) => {
  const sent = [];
  const listening = (url, init) => {
    if (init?.body) sent.push(JSON.parse(init.body));
    return fetch(url, init);
  };
  return [connect(gateway, { fetch: listening, ...options }), sent];
};

const core = {
  async create() {
    const message = await same((to) => to.messages.create(asked("Who goes there? 🌉", { system: "Ünïcödé" })));
    assert.match(textOf(message), /Who goes there\? 🌉/);
  },

  async rawEvents() {
    const counting = asked("Count", { model: `${MODEL}:chunks=7`, stream: true });
    const events = await same(async (to) => collect(await to.messages.create(counting)));
    assert.equal(events[0].type, "message_start");
    assert.equal(events.at(-1).type, "message_stop");
    assert.equal(events.filter((event) => event.type === "content_block_delta").length, 7);
  },

  async streamHelper() {
    const seen = [];
    const stream = client.messages.stream(asked("Tell me")).on("text", (text) => seen.push(text));
    const final = await stream.finalMessage();
    const whole = await direct.messages.create(asked("Tell me"));
    assert.equal(seen.join(""), textOf(whole));
    assert.deepEqual(plain(final.content), plain(whole.content));
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  },

  async manyAtOnce() {
    const model = `${MODEL}:chunks=5`;
    const one = (_, number) => client.messages.stream(asked(`Number ${number}`, { model })).finalText();
    const texts = await Promise.all(Array.from({ length: 10 }, one));
    texts.forEach((text, number) => assert.ok(text.includes(`Number ${number}”`)));
  },

  async countTokens() {
    const counted = await same((to) => to.messages.countTokens({ model: MODEL, messages: [user("How many?")] }));
    assert.deepEqual(Object.keys(plain(counted)), ["input_tokens"]);
    assert.ok(counted.input_tokens > 0);
  },

  async models() {
    const got = (await collect(client.models.list({ limit: 7 }))).map((model) => model.id);
    const expected = (await collect(direct.models.list({ limit: 1000 }))).map((model) => model.id);
    assert.deepEqual(new Set(got), new Set([...expected, "fast"]));
    assert.equal(new Set(got).size, got.length);
    await same((to) => to.models.retrieve("claude-opus-5"));
    assert.equal((await client.models.retrieve("sandbox/claude-opus-5")).id, "sandbox/claude-opus-5");
  },

  async toolRunnerOnAThread() {
    for (const stream of [false, true]) {
      const [listened, sent] = overheard();
      const runner = listened.beta.messages.toolRunner({
        ...asked("Use get_weather"),
        tools: [weather(({ city }) => `It rains in ${city}.`)],
        stream,
      });
      const final = await runner.runUntilDone();
      assert.match(textOf(final), /It rains in Paris\./);
      assert.deepEqual(sent[0].thread, { type: "create" });
      assert.equal(sent[1].thread.type, "continue");
      assert.equal(sent[1].messages.length, 1);
      assert.equal(sent.length, 2);
    }
  },

  async batches() {
    const params = (text) => ({ model: MODEL, max_tokens: 50, messages: [user(text)] });
    const batch = await client.messages.batches.create({
      requests: [
        { custom_id: "good", params: params(`Of ${label}`) },
        { custom_id: "bad", params: { ...params("Bad"), model: "error-500:batch" } },
      ],
    });
    assert.equal(batch.processing_status, "in_progress");
    const ended = await client.messages.batches.retrieve(batch.id);
    assert.equal(ended.results_url, `${gateway}/v1/messages/batches/${batch.id}/results`);
    const results = await collect(await client.messages.batches.results(batch.id));
    const outcomes = results.map((result) => [result.custom_id, result.result.type]);
    assert.deepEqual(outcomes, [["good", "succeeded"], ["bad", "errored"]]);
    assert.ok((await collect(client.messages.batches.list({ limit: 2 }))).some((listed) => listed.id === batch.id));
    assert.equal((await client.messages.batches.delete(batch.id)).type, "message_batch_deleted");
  },
};

const rest = {
  async headers() {
    const { data, response, request_id } = await client.messages.create(asked("Hi")).withResponse();
    const expected = await direct.messages.create(asked("Hi")).withResponse();
    assert.equal(request_id, expected.request_id);
    assert.equal(response.headers.get("x-asbru-provider"), "sandbox");
    assert.equal(response.headers.get("x-asbru-model"), data.model);
    assert.match(response.headers.get("x-asbru-request-id"), /^req_/);
  },

  async bothCredentials() {
    for (const options of [{ apiKey: "one" }, { apiKey: null, authToken: "two" }]) {
      assert.ok(textOf(await connect(gateway, options).messages.create(asked("In?"))));
    }
  },

  async toolRunnerWhereThreadsAreRefused() {
    const [listened, sent] = overheard();
    const final = await listened.beta.messages
      .toolRunner({
        ...asked("Use get_weather", { model: "claude-opus-5", max_tokens: 1000, thinking: { type: "adaptive" } }),
        tools: [weather(({ city }) => `It rains in ${city}.`)],
      })
      .runUntilDone();
    assert.match(textOf(final), /It rains in Paris\./);
    assert.deepEqual(sent.map((body) => Boolean(body.thread)), [true, false, false]);
  },

  async thinkingReplayed() {
    const thinking = { type: "adaptive", display: "summarized" };
    const ask = (messages, headers) =>
      client.messages
        .stream({ model: "claude-opus-5", max_tokens: 1000, thinking, messages }, { headers })
        .finalMessage();
    const first = await ask([user("Think")]);
    assert.equal(first.content[0].type, "thinking");
    const history = [user("Think"), { role: "assistant", content: first.content }, user("Again")];
    assert.match(textOf(await ask(history)), /Again/);
    first.content[0].thinking += "!";
    // Without "strict" the gateway asks once more, without the reasoning.
    const strict = { "x-asbru-strict": "true" };
    assert.ok((await refused(ask(history, strict))) instanceof Anthropic.BadRequestError);
    assert.match(textOf(await ask(history)), /Again/);
  },

  async mcp() {
    const message = await client.beta.messages.create({
      ...asked("Ask the server keeper"),
      mcp_servers: [{ type: "url", name: "keeper", url: "https://mcp.example.com/" }],
      tools: [{ type: "mcp_toolset", mcp_server_name: "keeper" }],
      betas: ["mcp-client-2025-11-20"],
    });
    assert.deepEqual(message.content.slice(0, 2).map((block) => block.type), ["mcp_tool_use", "mcp_tool_result"]);
  },

  async files() {
    const content = `Toll for ${label}\n`;
    const made = await toFile(Buffer.from(content), `${label}.txt`, { type: "text/plain" });
    const file = await client.files.upload({ file: made });
    assert.equal(file.size_bytes, content.length);
    assert.deepEqual(plain(await client.files.retrieveMetadata(file.id)), plain(file));
    assert.ok((await collect(client.files.list({ limit: 1 }))).some((listed) => listed.id === file.id));
    assert.equal(await (await client.files.download(file.id)).text(), content);
    assert.equal((await client.files.delete(file.id)).type, "file_deleted");
    assert.ok((await refused(client.files.retrieveMetadata(file.id))) instanceof Anthropic.NotFoundError);
  },

  async batchCancelled() {
    const params = { model: MODEL, max_tokens: 50, messages: [user(`Cancel ${label}`)] };
    const batch = await client.messages.batches.create({ requests: [{ custom_id: "a", params }] });
    assert.equal((await client.messages.batches.cancel(batch.id)).processing_status, "canceling");
    const results = await collect(await client.messages.batches.results(batch.id));
    assert.deepEqual(results.map((result) => result.result.type), ["canceled"]);
  },

  async errors() {
    const classes = {
      400: Anthropic.BadRequestError,
      404: Anthropic.NotFoundError,
      409: Anthropic.ConflictError,
      413: Anthropic.ContentTooLargeError,
      422: Anthropic.UnprocessableEntityError,
      429: Anthropic.RateLimitError,
      500: Anthropic.InternalServerError,
      503: Anthropic.ServiceUnavailableError,
      504: Anthropic.GatewayTimeoutError,
      529: Anthropic.OverloadedError,
    };
    for (const [status, kind] of Object.entries(classes)) {
      const model = `error-${status}:ts-${label}`;
      const fail = (to) => refused(to.messages.create(asked("Fail", { model })));
      const [got, expected] = await Promise.all([client, direct].map(fail));
      assert.ok(got instanceof kind, `${status}: ${got}`);
      assert.deepEqual([got.status, got.error, got.requestID], [expected.status, expected.error, expected.requestID]);
    }
  },

  async failuresOfStreams() {
    const types = {
      "error-mid-stream": "overloaded_error",
      "die-mid-stream": "api_error",
      "end-mid-stream": "api_error",
    };
    const fail = (model) =>
      refused(client.messages.stream(asked("Fail", { model: `${model}:ts-${label}` })).finalMessage());
    assert.ok((await fail("error-first-event")) instanceof Anthropic.OverloadedError);
    for (const [model, type] of Object.entries(types)) {
      const error = await fail(model);
      assert.ok(error instanceof Anthropic.APIError, `${model}: ${error}`);
      assert.deepEqual([error.status, error.type], [undefined, type]);
    }
  },

  async retries() {
    const model = `error-529:retry_after_s=0,until_retry=1,ts-${label}`;
    const patient = connect(gateway, { maxRetries: 2 });
    const { response } = await patient.messages.create(asked("Again", { model })).withResponse();
    assert.match(response.headers.get("x-asbru-attempts"), / 200 /);
  },

  async fallbackOfTheGateway() {
    const body = { ...asked("Carry on", { model: `error-first-event:ts-${label}` }), fallbacks: [`sandbox/${MODEL}`] };
    assert.match(await client.messages.stream(body).finalText(), /Carry on/);
  },

  async timeout() {
    const error = await refused(client.messages.create(asked("Wait", { model: `hang:ts-${label}` }), { timeout: 200 }));
    assert.ok(error instanceof Anthropic.APIConnectionTimeoutError);
  },

  // The gateway's Record of it is looked at by the test that runs this script.
  async abortInTheMiddle() {
    const model = `${MODEL}:chunks=200,delay_ms=50,ts-abort-${label}`;
    const stream = client.messages.stream(asked("Go on", { model }));
    stream.once("text", () => stream.abort());
    assert.ok((await refused(stream.finalMessage())) instanceof Anthropic.APIUserAbortError);
  },
};

const outcomes = {};
for (const [name, run] of Object.entries(extent === "all" ? { ...core, ...rest } : core)) {
  outcomes[name] = await inTime(run()).then(() => null, (error) => error.stack ?? String(error));
}
console.log(JSON.stringify(outcomes));
