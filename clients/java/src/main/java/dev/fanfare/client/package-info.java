/**
 * A client of Fanfare, a home-timeline service; {@link dev.fanfare.client.FanfareClient} is where to
 * begin.
 */
package dev.fanfare.client;
