// Anthropic's Node package: `node anthropic.mjs EMAIL` prints what it was answered, as JSON.
import Anthropic from "@anthropic-ai/sdk";

const email = process.argv[2];
const ai = new Anthropic({ maxRetries: 0 });
const patient = new Anthropic({ maxRetries: 2 });
const input_schema = { type: "object", properties: { to: { type: "string" } }, required: ["to"] };
const tools = ["write", "call"].map((name) => ({ name, input_schema }));
const asks = (content, more) => ({
  model: "claude-sonnet-4-6",
  max_tokens: 2000,
  messages: [{ role: "user", content }],
  ...more,
});
const fails = (promise) =>
  promise.then(() => "answered", (error) => [error.constructor.name, error.status, error.error.error.type]);

const said = {};
said.whole = await ai.messages.create(asks(`Write to ${email}`));

said.events = [];
for await (const event of await ai.messages.create(asks("Hello there", { stream: true }))) said.events.push(event);

const text = ai.messages.stream(asks(`Write to ${email}`));
said.text = "";
text.on("text", (delta) => { said.text += delta; });
said.streamed = await text.finalMessage();

said.calls = (await ai.messages.stream(asks(`Use every tool for ${email}`, { tools })).finalMessage()).content;
said.thought = (
  await ai.messages.stream(asks("Think well", { thinking: { type: "enabled", budget_tokens: 1024 } })).finalMessage()
).content;
said.count = await ai.messages.countTokens({ model: "claude-sonnet-4-6", messages: [{ role: "user", content: email }] });
said.retried = (await patient.messages.create(asks("status 529 once by node"))).stop_reason;
said.limited = await fails(ai.messages.create(asks("status 429")));
said.overloaded = await fails(ai.messages.create(asks("status 529", { stream: true })));
console.log(JSON.stringify(said));
