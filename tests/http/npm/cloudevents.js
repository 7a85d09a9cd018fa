// Sends CloudEvents with the package `cloudevents` in every content mode, reads them back with it, and compares.
// Usage: node cloudevents.js URL STREAM. Ends with 0 and a line for each comparison, or with what differed.
"use strict";
const assert = require("assert");
const { CloudEvent, HTTP, Mode, emitterFor, httpTransport } = require("cloudevents");

const [url, stream] = process.argv.slice(2);
const events = `${url}/v1/streams/${encodeURIComponent(stream)}/events`;
const place = ["stream", "revision", "position", "recordedtime"];

const originals = {
  json: new CloudEvent({
    type: "com.example.placed", source: "/shop", subject: "order/7", time: "2026-01-01T00:00:00.000Z",
    datacontenttype: "application/json", dataschema: "https://example.com/schema", data: { total: "19.90", items: [1, 2] },
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  }),
  text: new CloudEvent({ type: "com.example.note", source: "urn:example:notes", id: "not-a-uuid", datacontenttype: "text/plain", data: "by train" }),
  untyped: new CloudEvent({ type: "com.example.untyped", source: "/shop", data: { a: 1 } }),
};

// What was sent, as far as the mode can carry it.
function wanted(event, mode) {
  const attributes = event.toJSON();
  delete attributes.data_base64;
  if (mode === Mode.BINARY && !attributes.datacontenttype) {
    attributes.datacontenttype = "application/json; charset=utf-8"; // the package says so in binary mode
  }
  return JSON.parse(JSON.stringify(attributes));
}

function got(event) {
  const attributes = JSON.parse(JSON.stringify(event));
  for (const name of place) {
    assert.ok(attributes[name], `${name} is missing`);
    delete attributes[name];
  }
  return attributes;
}

async function receive(path, accept) {
  const response = await fetch(path, { headers: accept ? { Accept: accept } : {} });
  const body = await response.text();
  assert.strictEqual(response.status, 200, body);
  return HTTP.toEvent({ headers: Object.fromEntries(response.headers), body });
}

async function send(event, mode) {
  const answer = await emitterFor(httpTransport(events), { mode })(event);
  const result = JSON.parse(answer.body);
  assert.ok(result.last_revision, answer.body);
  return result;
}

async function oneByOne() {
  for (const [name, event] of Object.entries(originals)) {
    for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
      const copy = event.cloneWith({ id: `${event.id}-${mode}` });
      const result = await send(copy, mode);
      const again = await send(copy, mode);
      assert.deepStrictEqual(again, { ...result, duplicate: true });
      const path = `${events}/${result.last_revision}`;
      const structured = await receive(path, "application/cloudevents+json");
      assert.deepStrictEqual(got(structured), wanted(copy, mode));
      const binary = await receive(`${path}?cloudevents=binary`);
      const want = wanted(copy, mode);
      want.datacontenttype ??= "application/json"; // implied by the JSON format, said in binary mode
      assert.deepStrictEqual(got(binary), want);
      console.log(`ok ${name} sent ${mode}`);
    }
  }
}

async function batch() {
  const sent = Object.values(originals).map((event) => event.cloneWith({ id: `${event.id}-batch`, stream: `${stream}-batch` }));
  const response = await fetch(`${url}/v1/events`, {
    method: "POST",
    headers: { "Content-Type": "application/cloudevents-batch+json" },
    body: JSON.stringify(sent),
  });
  assert.strictEqual(response.status, 201, await response.text());
  const page = await receive(`${url}/v1/streams/${encodeURIComponent(stream)}-batch/events`, "application/cloudevents-batch+json");
  assert.strictEqual(page.length, sent.length);
  page.forEach((event, i) => {
    const { stream: _, ...want } = wanted(sent[i], Mode.STRUCTURED);
    assert.deepStrictEqual(got(event), want);
    console.log(`ok ${sent[i].type} in a batch`);
  });
}

oneByOne().then(batch).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
