// Follows a URL as a browser's EventSource does, through whatever happens to the server, and prints a line for each thing that
// it is told: a JSON array ["open"], ["message", lastEventId, data], ["caught_up", lastEventId, data].
// Usage: node eventsource.js URL. Ends when its standard input does.
"use strict";
const { EventSource } = require("eventsource");

const print = (...line) => process.stdout.write(JSON.stringify(line) + "\n");
const source = new EventSource(process.argv[2]);
source.addEventListener("open", () => print("open"));
source.addEventListener("message", (event) => print("message", event.lastEventId, event.data));
source.addEventListener("caught_up", (event) => print("caught_up", event.lastEventId, event.data));
source.addEventListener("error", () => {
  if (source.readyState === EventSource.CLOSED) {
    print("closed"); // it has given up, which must not happen
  }
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
