// What every client here shares: an order on each line of stdin, a report on each line of stdout; see programs/orders.py.

import { createInterface } from 'node:readline';
import { z } from 'zod';

export const URL = process.argv.at(-1);
export const WORDS = process.argv.slice(2, -1); // which of its ways a client asks in

export const City = z.object({ city: z.string() });
export const Nothing = z.object({});
export const Booking = z.object({ name: z.string(), guests: z.number().int() });

export const getWeather = ({ city }) => `Rain in ${city}.`;
export const getTime = () => 'Ten past nine.';

export class Report {
  text = '';
  pieces = 0;
  thoughts = '';
  calls = [];
  usage = null;
  error = '';
  status = null;
  value = null;

  hear(piece) {
    if (piece) {
      this.text += piece;
      this.pieces += 1;
    }
  }

  heardEnough(order) {
    return order.hang_up_after > 0 && this.pieces >= order.hang_up_after;
  }
}

/** Obey until stdin ends. */
export async function serve(ask) {
  for await (const line of createInterface({ input: process.stdin })) {
    const report = new Report();
    await ask(JSON.parse(line), report);
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
}
