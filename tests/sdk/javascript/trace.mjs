// Traces with the unmodified LangSmith SDK and prints as JSON what it traced; the counterpart of python/trace.py.
//
// Environment: LANGSMITH_ENDPOINT, LANGSMITH_API_KEY, LANGSMITH_PROJECT, and LANGSMITH_TRACING=true.
// Exits with 1 if the SDK warns of anything.

import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";

// Before the SDK, which may complain while it is imported.
const complaints = [];
console.warn = console.error = (...words) => complaints.push(words.join(" "));
process.on("warning", (warning) => complaints.push(String(warning)));

const { Client, RunTree } = await import("langsmith");
const { traceable } = await import("langsmith/traceable");

const project = process.env.LANGSMITH_PROJECT;
const usage = { input_tokens: 12, output_tokens: 5, total_tokens: 17 };
const costlyUsage = { ...usage, input_cost: 0.0012, output_cost: 0.001, total_cost: 0.0022 };

/** A run that is sent when it starts and again when it ends. */
async function traceRun(run, work) {
  await run.postRun();
  try {
    await run.end(await work(run));
  } catch (error) {
    await run.end(undefined, String(error.stack));
  }
  await run.patchRun();
  return run;
}

/** A chain over two llm runs and a tool that fails. */
async function traceAnswer(client) {
  const metadata = { thread_id: `thread-${randomUUID()}`, customer: "acme" };
  const tags = ["prod", "sdk"];
  const inputs = { question: "Where is Zürich? 🗺" };
  const attachments = { note: ["text/plain", Buffer.from("seen on a map")] };
  const children = [];
  const root = new RunTree({ name: "answer", run_type: "chain", inputs, tags, metadata, attachments, client });
  const chain = await traceRun(root, async () => {
    const model = { ls_provider: "openai", ls_model_name: "gpt-4o" };
    const messages = [{ role: "user", content: "Where is Zürich?" }];
    const child = (config, work) => traceRun(root.createChild(config), work).then((run) => children.push(run));
    await child(
      { name: "generate", run_type: "llm", inputs: { messages }, metadata: { ...metadata, ...model } },
      () => ({ role: "assistant", content: "In Switzerland.", usage_metadata: usage }),
    );
    await child(
      { name: "judge", run_type: "llm", inputs: {}, metadata: { ...metadata, usage_metadata: costlyUsage } },
      () => ({ grade: null, scores: [1, 0.5, true] }),
    );
    await child({ name: "search", run_type: "tool", inputs: { q: "Zürich" }, metadata }, () => {
      throw new Error("no such index");
    });
    return { answer: "In Switzerland." };
  });
  return [chain, ...children];
}

/** A trace that is one failed run, by the wrapper that most code uses. */
async function traceFailure(client) {
  let failed;
  const options = { name: "broken", tags: ["staging"], client, on_end: (run) => (failed = run) };
  const broken = traceable(async () => {
    throw new Error("empty question");
  }, options);
  await broken({ question: "" }).catch(() => {});
  return failed;
}

/** A correction that may travel with the runs, and a label that is posted. */
async function giveFeedback(client, chain, llm) {
  const given = [
    { runId: chain.id, traceId: chain.id, key: "correctness", score: 0.25, comment: "too vague",
      correction: { answer: "In the north of Switzerland." } },
    { runId: llm.id, key: "thumbs", value: "up" },
  ];
  const sessionId = (await client.readProject({ projectName: project })).id;
  const asSent = ({ runId, traceId, ...rest }, { id }) => ({ id, run_id: runId, trace_id: traceId, ...rest });
  const create = async (it) => asSent(it, await client.createFeedback({ ...it, sessionId }));
  return Promise.all(given.map(create));
}

/** What the server should know of a run. */
function show(run) {
  const { id, name, run_type, trace_id, dotted_order, inputs, outputs = null, error = null } = run;
  const files = Object.entries(run.attachments ?? {});
  return {
    id, name, run_type, trace_id, dotted_order, inputs, outputs, error,
    parent_run_id: run.parent_run?.id ?? null,
    start_time: new Date(run.start_time).toISOString(),
    end_time: new Date(run.end_time).toISOString(),
    status: error ? "error" : "success",
    tags: run.tags ?? [],
    metadata: run.extra.metadata,
    attachments: Object.fromEntries(files.map(([name, [kind, data]]) => [name, [kind, data.toString()]])),
  };
}

const client = new Client();
const runs = [...(await traceAnswer(client)), await traceFailure(client)];
await client.awaitPendingTraceBatches();
const feedback = await giveFeedback(client, runs[0], runs[1]);
await client.awaitPendingTraceBatches();
if (complaints.length > 0) {
  process.stderr.write(`the SDK complained:\n  ${complaints.join("\n  ")}\n`);
  process.exit(1);
}
const sdk = createRequire(import.meta.url)("langsmith/package.json").version;
console.log(JSON.stringify({ sdk, project, runs: runs.map(show), feedback }));
