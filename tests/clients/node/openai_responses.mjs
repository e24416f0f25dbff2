// openai for JavaScript over the Responses API: a tool loop, a conversation, `parse`. Without a word each request names
// the response before; with `whole` nothing is kept, and each has the whole history.

import OpenAI from 'openai';
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import { Booking, City, getTime, getWeather, Nothing, serve, URL, WORDS } from './orders.mjs';

const client = new OpenAI({ baseURL: URL, apiKey: 'none', maxRetries: 0 });

const RUN = { get_weather: getWeather, get_time: getTime };
const TOOLS = [
  zodResponsesFunction({ name: 'get_weather', parameters: City }),
  zodResponsesFunction({ name: 'get_time', parameters: Nothing }),
];

/** What goes on from one request to the next: an id, kept by the server. */
class Chain {
  fields = {};

  next(input) {
    return { ...this.fields, input };
  }

  heard(response) {
    this.fields = { previous_response_id: response.id };
  }
}

/** The same, kept here: every item, those that the model thought included. */
class Whole {
  items = [];

  next(input) {
    this.items.push(...input);
    return { store: false, include: ['reasoning.encrypted_content'], input: this.items };
  }

  heard(response) {
    this.items.push(...response.output);
  }
}

function note(event, report) {
  if (event.type === 'response.output_text.delta') report.hear(event.delta);
  if (event.type === 'response.reasoning_summary_text.delta') report.thoughts += event.delta;
  if (event.type === 'response.completed') {
    const { input_tokens, output_tokens, total_tokens } = event.response.usage;
    report.usage = [input_tokens, output_tokens, total_tokens];
  }
}

/** The final response, or null once it has hung up. */
async function created(body, order, report) {
  let last = null;
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    note(event, report);
    last = event.response ?? last;
    if (report.heardEnough(order)) return null; // which aborts the request
  }
  return last;
}

/** The same by the library's own reader, which puts the response together from its events. */
async function streamed(body, order, report) {
  const stream = client.responses.stream(body);
  stream.on('event', (event) => {
    note(event, report);
    if (report.heardEnough(order)) stream.abort();
  });
  try {
    return await stream.finalResponse();
  } catch (failed) {
    if (failed instanceof OpenAI.APIUserAbortError) return null;
    throw failed;
  }
}

const [ask, Memory] = WORDS.includes('whole') ? [streamed, Whole] : [created, Chain];

async function turn(body, memory, say, order, report) {
  let input = [{ role: 'user', content: say }];
  while (input.length) {
    const response = await ask({ ...body, ...memory.next(input) }, order, report);
    if (response === null) return;
    memory.heard(response);
    const calls = response.output.filter((item) => item.type === 'function_call');
    input = calls.map(({ name, call_id, arguments: given }) => {
      report.calls.push({ name, arguments: JSON.parse(given) });
      return { type: 'function_call_output', call_id, output: RUN[name](JSON.parse(given)) };
    });
  }
}

await serve(async (order, report) => {
  const body = { model: order.model, metadata: order.metadata };
  if (order.tools) body.tools = TOOLS;
  if (order.think) body.reasoning = { summary: 'auto' };
  const memory = new Memory();
  try {
    if (order.form) {
      const text = { format: zodTextFormat(Booking, 'booking') };
      const answer = await client.responses.parse({ ...body, text, input: order.say });
      report.value = answer.output_parsed;
    } else {
      for (const say of [order.say, order.then].filter(Boolean)) await turn(body, memory, say, order, report);
    }
  } catch (failed) {
    if (!(failed instanceof OpenAI.APIError)) throw failed;
    report.error = failed.message;
    report.status = failed.status ?? null;
  }
});
