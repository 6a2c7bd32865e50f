// Vercel's AI SDK over OpenAI responses, OpenAI chat and Anthropic: `node ai.mjs EMAIL` prints JSON.
import { anthropic } from "@ai-sdk/anthropic";
import { openai } from "@ai-sdk/openai";
import { embed, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const email = process.argv[2];
const models = {
  responses: openai("gpt-4o"),
  chat: openai.chat("gpt-4o"),
  messages: anthropic("claude-sonnet-4-6"),
};
const schema = z.object({ email: z.string(), age: z.number().int() });
const write = tool({
  description: "Write to somebody.",
  inputSchema: z.object({ to: z.string() }),
  execute: async ({ to }) => `sent to ${to}`,
});

const said = {};
for (const [name, model] of Object.entries(models)) {
  const asks = (prompt, more) => ({ model, prompt, maxRetries: 0, ...more });
  const whole = await generateText(asks(`Write to ${email}`));
  const stream = streamText(asks(`Write to ${email}`));
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  const able = { tools: { write }, stopWhen: stepCountIs(3) };
  const called = await generateText(asks(`Write to ${email}`, able));
  const streamed = streamText(asks(`Write to ${email}`, able));
  said[name] = {
    whole: [whole.text, whole.finishReason, whole.usage],
    text: [text, await stream.finishReason, await stream.usage],
    called: [called.text, called.steps[0].toolCalls.map((call) => call.input)],
    streamed: [await streamed.text, (await streamed.steps)[0].toolCalls.map((call) => call.input)],
    object: (await generateText(asks(`Who is ${email}`, { output: Output.object({ schema }) }))).output,
  };
}
said.embedding = (await embed({ model: openai.embedding("text-embedding-3-small"), value: email })).embedding;
console.log(JSON.stringify(said));
