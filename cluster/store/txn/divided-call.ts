import type { troupepb } from '../../proto/index.js';
import { type CalledRegion, RegionCall } from '../region-call.js';
import { isTxnWrite } from './messages.js';

/** The writes of a call that is for both spaces, as a call for each of them; it is answered when both are. */
export function divideCall(call: RegionCall, called: CalledRegion): { raw: RegionCall; txn: RegionCall } {
  const { requests } = call.event;
  const responses: troupepb.RegionResponse[] = [];
  let left = 2;
  const part = (isTxn: boolean): RegionCall => {
    const places: number[] = [];
    for (const [place, request] of requests.entries()) if (isTxnWrite(request) === isTxn) places.push(place);
    const event = { ...call.event, requests: requests.filter((one) => isTxnWrite(one) === isTxn) };
    const send = (reply: troupepb.RegionResponses): void => {
      if (reply.regionError !== undefined) return call.pass(reply);
      for (const [i, place] of places.entries()) {
        const response = reply.responses[i];
        if (response !== undefined) responses[place] = response;
      }
      if (--left === 0) call.answer(responses);
    };
    return new RegionCall(event, { send }, called);
  };
  return { raw: part(false), txn: part(true) };
}
