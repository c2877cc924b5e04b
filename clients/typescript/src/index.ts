export { Code } from "@connectrpc/connect";

export { Client, type WatchOptions } from "./client.js";
export { FanfareError } from "./errors.js";
export * from "./gen/fanfare/auth/v1/auth_pb.js";
export * from "./gen/fanfare/common/v1/common_pb.js";
export * from "./gen/fanfare/errors/v1/errors_pb.js";
export * from "./gen/fanfare/events/v1/events_pb.js";
export * from "./gen/fanfare/read/v1/read_pb.js";
export * from "./gen/fanfare/write/v1/write_pb.js";
export { pages } from "./pages.js";
export { type SessionOptions } from "./sessions.js";
