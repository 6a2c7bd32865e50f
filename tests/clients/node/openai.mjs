// OpenAI's Node package: `node openai.mjs EMAIL` prints what it was answered, as JSON.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const email = process.argv[2];
const ai = new OpenAI({ maxRetries: 0 });
const patient = new OpenAI({ maxRetries: 2 });
const Person = z.object({ email: z.string(), age: z.number().int() });
const parameters = {
  type: "object",
  properties: { to: { type: "string" } },
  required: ["to"],
  additionalProperties: false,
};
const tools = ["write", "call"].map((name) => ({ type: "function", function: { name, parameters, strict: true } }));
const flatTools = tools.map((tool) => ({ type: "function", ...tool.function }));
const asks = (content, more) => ({ model: "gpt-4o", messages: [{ role: "user", content }], ...more });
const fails = (promise) => promise.then(() => "answered", (error) => [error.constructor.name, error.status, error.type]);

const said = {};
said.whole = await ai.chat.completions.create(asks(`Write to ${email}`));

said.pieces = [];
for await (const piece of await ai.chat.completions.create(asks("Hello there", { stream: true }))) said.pieces.push(piece);

const text = ai.chat.completions.stream(asks(`Write to ${email}`));
said.text = "";
text.on("content", (delta) => { said.text += delta; });
said.streamed = await text.finalChatCompletion();

said.calls = (await ai.chat.completions.stream(asks(`Use every tool for ${email}`, { tools })).finalMessage()).tool_calls;
said.parsed = (
  await ai.chat.completions.parse(asks(`Who is ${email}`, { response_format: zodResponseFormat(Person, "person") }))
).choices[0].message.parsed;

const runner = ai.chat.completions.runTools(
  asks(`Write to ${email}`, {
    tools: [{
      type: "function",
      function: { name: "write", parameters, parse: JSON.parse, function: ({ to }) => `sent to ${to}` },
    }],
  }),
);
said.ran = await runner.finalContent();

said.response = (await ai.responses.create({ model: "gpt-4o", input: `Write to ${email}` })).output_text;
const response = ai.responses.stream({ model: "gpt-4o", input: `Use every tool for ${email}`, tools: flatTools });
said.responseKinds = [];
for await (const event of response) if (!event.type.endsWith(".delta")) said.responseKinds.push(event.type);
said.responseCalls = (await response.finalResponse()).output;
said.responseParsed = (
  await ai.responses.parse({
    model: "gpt-4o",
    input: `Who is ${email}`,
    text: { format: zodTextFormat(Person, "person") },
  })
).output_parsed;

said.embeddings = (await ai.embeddings.create({ model: "text-embedding-3-small", input: [email] })).data;
said.completion = (await ai.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: `Dear ${email}` })).choices;
said.retried = (await patient.chat.completions.create(asks("status 500 once by node"))).choices[0].finish_reason;
said.limited = await fails(ai.chat.completions.create(asks("status 429")));
said.refused = await fails(ai.chat.completions.create(asks("status 400", { stream: true })));
console.log(JSON.stringify(said));
