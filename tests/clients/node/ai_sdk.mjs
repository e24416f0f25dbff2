// The Vercel AI SDK over its OpenAI provider's Chat Completions model: `streamText` with tools, `Output.object`.

import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { Booking, City, getTime, getWeather, Nothing, serve, URL } from './orders.mjs';

const openai = createOpenAI({ baseURL: URL, apiKey: 'none' });

const TOOLS = {
  get_weather: tool({ inputSchema: City, execute: async (input) => getWeather(input) }),
  get_time: tool({ inputSchema: Nothing, execute: async () => getTime() }),
};

function asked(order) {
  return {
    model: openai.chat(order.model),
    prompt: order.say,
    maxRetries: 0,
    providerOptions: { openai: { metadata: order.metadata } },
  };
}

function blame(failed, report) {
  report.error = failed.message ?? JSON.stringify(failed);
  report.status = APICallError.isInstance(failed) ? failed.statusCode : null;
}

async function hear(order, report) {
  const caller = new AbortController();
  const { fullStream } = streamText({
    ...asked(order),
    tools: order.tools ? TOOLS : undefined,
    stopWhen: stepCountIs(3),
    abortSignal: caller.signal,
    onError: () => {}, // it comes as a part of the stream too; else it is printed
  });
  for await (const part of fullStream) {
    if (part.type === 'text-delta') report.hear(part.text);
    if (part.type === 'tool-call') report.calls.push({ name: part.toolName, arguments: part.input });
    if (part.type === 'error') blame(part.error, report);
    if (part.type === 'finish-step') {
      const { inputTokens, outputTokens, totalTokens } = part.usage;
      report.usage = [inputTokens ?? null, outputTokens ?? null, totalTokens ?? null];
    }
    if (report.heardEnough(order)) caller.abort();
  }
}

await serve(async (order, report) => {
  if (order.form) {
    const { output } = await generateText({ ...asked(order), output: Output.object({ schema: Booking }) });
    report.value = output;
  } else {
    await hear(order, report);
  }
});
