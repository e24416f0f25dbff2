// openai for JavaScript: a plain stream, `runTools` for the tool loop, `parse` for structured output.

import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { Booking, City, getTime, getWeather, Nothing, serve, URL } from './orders.mjs';

const client = new OpenAI({ baseURL: URL, apiKey: 'none', maxRetries: 0 });

const runnable = (name, form, run) => ({
  type: 'function',
  function: { name, parameters: z.toJSONSchema(form), parse: JSON.parse, function: run },
});
const TOOLS = [runnable('get_weather', City, getWeather), runnable('get_time', Nothing, getTime)];

const STREAMED = { stream: true, stream_options: { include_usage: true } };

function count({ usage }, report) {
  if (usage) report.usage = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
}

async function hear(body, order, report) {
  const stream = await client.chat.completions.create({ ...body, ...STREAMED });
  for await (const chunk of stream) {
    report.hear(chunk.choices[0]?.delta.content);
    count(chunk, report);
    if (report.heardEnough(order)) break; // which aborts the request
  }
}

async function loop(body, report) {
  const runner = client.chat.completions.runTools({ ...body, tools: TOOLS, ...STREAMED });
  runner.on('content', (piece) => report.hear(piece));
  runner.on('chunk', (chunk) => count(chunk, report));
  await runner.done();
  for (const message of runner.messages) {
    for (const { function: called } of message.tool_calls ?? []) {
      report.calls.push({ name: called.name, arguments: JSON.parse(called.arguments) });
    }
  }
}

async function parse(body, report) {
  const form = zodResponseFormat(Booking, 'booking');
  const answer = await client.chat.completions.parse({ ...body, response_format: form });
  report.value = answer.choices[0].message.parsed;
}

await serve(async (order, report) => {
  const { model, say, metadata } = order;
  const body = { model, metadata, messages: [{ role: 'user', content: say }] };
  try {
    if (order.form) await parse(body, report);
    else if (order.tools) await loop(body, report);
    else await hear(body, order, report);
  } catch (failed) {
    if (!(failed instanceof OpenAI.APIError)) throw failed;
    report.error = failed.message;
    report.status = failed.status ?? null;
  }
});
