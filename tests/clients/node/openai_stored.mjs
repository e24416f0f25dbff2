// openai for JavaScript: what it can do with a response that is kept. `value` is what it saw.

import OpenAI from 'openai';
import { serve, URL } from './orders.mjs';

const client = new OpenAI({ baseURL: URL, apiKey: 'none', maxRetries: 0 });

/** Read it, its input page by page, and delete it. */
async function keep({ model, say, metadata }) {
  const input = say.split(' ').map((content) => ({ role: 'user', content }));
  const created = await client.responses.create({ model, metadata, input });
  const read = await client.responses.retrieve(created.id);
  const items = [];
  for await (const item of client.responses.inputItems.list(created.id, { order: 'asc', limit: 1 })) items.push(item);
  await client.responses.delete(created.id);
  const gone = await client.responses.retrieve(created.id).catch((failed) => failed.status);
  return { text: created.output_text, same: JSON.stringify(read) === JSON.stringify(created), items, gone };
}

/** Cancel it while it speaks, as somebody else who knows its id. */
async function cancel({ model, say, metadata, hang_up_after }) {
  const seen = [];
  let deltas = 0;
  let id = null;
  let cancelled = null;
  try {
    for await (const event of await client.responses.create({ model, metadata, input: say, stream: true })) {
      if (event.type === 'response.created') id = event.response.id;
      if (event.type === 'response.output_text.delta') deltas += 1;
      else seen.push(event.type);
      if (deltas === hang_up_after && cancelled === null) cancelled = await client.responses.cancel(id);
    }
  } catch (failed) {
    if (!(failed instanceof OpenAI.APIError)) throw failed;
    seen.push(failed.code);
  }
  const read = await client.responses.retrieve(id);
  return { seen, cancelled: cancelled.status, read: read.status };
}

await serve(async (order, report) => {
  report.value = await (order.hang_up_after ? cancel(order) : keep(order));
});
