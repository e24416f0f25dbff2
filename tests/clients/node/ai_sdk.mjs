// The Vercel AI SDK over its OpenAI provider: `streamText` with tools, `Output.object`. Without a word it asks for chat
// completions; `responses` is its default model, which names what was said before by the items' ids; `chained` as well
// has it name the response before instead.

import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { Booking, City, getTime, getWeather, Nothing, serve, URL, WORDS } from './orders.mjs';

const openai = createOpenAI({ baseURL: URL, apiKey: 'none' });

const TOOLS = {
  get_weather: tool({ inputSchema: City, execute: async (input) => getWeather(input) }),
  get_time: tool({ inputSchema: Nothing, execute: async () => getTime() }),
};
const THINKING = { forceReasoning: true, reasoningSummary: 'auto' }; // it knows OpenAI's models alone as ones that think

function asked(order, previousResponseId) {
  return {
    model: WORDS.includes('responses') ? openai(order.model) : openai.chat(order.model),
    maxRetries: 0,
    providerOptions: {
      openai: { metadata: order.metadata, previousResponseId, ...(order.think ? THINKING : {}) },
    },
  };
}

function blame(failed, report) {
  report.error = failed.message ?? JSON.stringify(failed);
  report.status = APICallError.isInstance(failed) ? failed.statusCode : null;
}

async function hear(order, messages, previousResponseId, report) {
  const caller = new AbortController();
  const answer = streamText({
    ...asked(order, previousResponseId),
    messages,
    tools: order.tools ? TOOLS : undefined,
    stopWhen: stepCountIs(3),
    abortSignal: caller.signal,
    onError: () => {}, // it comes as a part of the stream too; else it is printed
  });
  for await (const part of answer.fullStream) {
    if (part.type === 'text-delta') report.hear(part.text);
    if (part.type === 'reasoning-delta') report.thoughts += part.text;
    if (part.type === 'tool-call') report.calls.push({ name: part.toolName, arguments: part.input });
    if (part.type === 'error') blame(part.error, report);
    if (part.type === 'finish-step') {
      const { inputTokens, outputTokens, totalTokens } = part.usage;
      report.usage = [inputTokens ?? null, outputTokens ?? null, totalTokens ?? null];
    }
    if (report.heardEnough(order)) caller.abort();
  }
  return answer;
}

async function converse(order, report) {
  const first = [{ role: 'user', content: order.say }];
  const answer = await hear(order, first, undefined, report);
  if (!order.then) return;
  const { id, messages } = await answer.response;
  const next = { role: 'user', content: order.then };
  if (WORDS.includes('chained')) await hear(order, [next], id, report);
  else await hear(order, [...first, ...messages, next], undefined, report);
}

await serve(async (order, report) => {
  if (order.form) {
    const { output } = await generateText({
      ...asked(order),
      prompt: order.say,
      output: Output.object({ schema: Booking }),
    });
    report.value = output;
  } else {
    await converse(order, report);
  }
});
