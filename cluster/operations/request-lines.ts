/**
 * A store's requests in Prometheus's text. Written here and not by prom-client: its histograms take one value at a time, and a batch
 * brings hundreds of the same.
 */
import { REQUEST_BOUNDS_MS, type RequestTimes } from '../store/request-times.js';

const DURATION = 'troupe_request_duration_seconds';
const OUTCOMES = 'troupe_requests_total';

/** Two families, each with its `HELP` and `TYPE`; ends with a line break. */
export function requestLines(times: RequestTimes): string {
  const lines = [
    '',
    `# HELP ${DURATION} Time from when a region took a request until its answer, by kind, of those that were served.`,
    `# TYPE ${DURATION} histogram`,
  ];
  for (const { kind, atMost, count, sum } of times.histograms()) {
    for (const [i, below] of atMost.entries())
      lines.push(`${DURATION}_bucket{le="${(REQUEST_BOUNDS_MS[i] ?? 0) / 1000}",kind="${kind}"} ${below}`);
    lines.push(`${DURATION}_bucket{le="+Inf",kind="${kind}"} ${count}`);
    lines.push(`${DURATION}_sum{kind="${kind}"} ${sum / 1000}`, `${DURATION}_count{kind="${kind}"} ${count}`);
  }
  lines.push(
    '',
    `# HELP ${OUTCOMES} Requests that were answered, by kind and outcome.`,
    `# TYPE ${OUTCOMES} counter`,
  );
  for (const { kind, outcome, count } of times.outcomes())
    lines.push(`${OUTCOMES}{kind="${kind}",outcome="${outcome}"} ${count}`);
  return `${lines.join('\n')}\n`;
}
