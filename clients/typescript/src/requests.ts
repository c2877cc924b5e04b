import { clone, isMessage, type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import {
  BatchCreateTweetsRequestSchema,
  CreateTweetRequestSchema,
} from "./gen/fanfare/write/v1/write_pb.js";

/**
 * Returns a request that can be sent twice without creating a tweet twice: a request that creates
 * tweets gets a requestId for each tweet that has none, and others are returned as they are.
 */
export function withRequestIds<Desc extends DescMessage>(
  schema: Desc,
  request: MessageShape<Desc>,
): MessageShape<Desc> {
  const copy = clone(schema, request);
  if (isMessage(copy, CreateTweetRequestSchema)) {
    copy.requestId ||= uuid();
  } else if (isMessage(copy, BatchCreateTweetsRequestSchema)) {
    for (const tweet of copy.requests) {
      tweet.requestId ||= uuid();
    }
  }
  return copy;
}

// crypto.randomUUID() is missing on pages that were loaded without TLS.
function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
