import type { troupepb } from '../../proto/index.js';
import { type CalledRegion, partlyDone, RegionCall } from '../region-call.js';
import { isTxnWrite } from './messages.js';

/** The writes of a call that is for both spaces, as a call for each of them; it is answered when both are. */
export function divideCall(call: RegionCall, called: CalledRegion): { raw: RegionCall; txn: RegionCall } {
  const { requests } = call.event;
  const responses: troupepb.RegionResponse[] = [];
  const refusals: troupepb.RegionResponses[] = [];
  let answered = 0;
  const end = (): void => {
    if (answered + refusals.length < 2) return;
    const [refusal] = refusals;
    if (refusal === undefined) return call.answer(responses);
    const isDoubtful = refusals.some(({ regionError }) => regionError?.undeterminedResult !== undefined);
    if (answered > 0 || isDoubtful) call.fail(partlyDone());
    else call.pass(refusal);
  };
  const part = (isTxn: boolean): RegionCall => {
    const places: number[] = [];
    for (const [place, request] of requests.entries()) if (isTxnWrite(request) === isTxn) places.push(place);
    const event = { ...call.event, requests: requests.filter((one) => isTxnWrite(one) === isTxn) };
    const send = (reply: troupepb.RegionResponses): void => {
      if (reply.regionError !== undefined) refusals.push(reply);
      else {
        answered++;
        for (const [i, place] of places.entries()) {
          const response = reply.responses[i];
          if (response !== undefined) responses[place] = response;
        }
      }
      end();
    };
    return new RegionCall(event, { send }, called, call.spans?.part(places));
  };
  return { raw: part(false), txn: part(true) };
}
