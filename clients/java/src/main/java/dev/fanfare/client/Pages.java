package dev.fanfare.client;

import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** Reads one page after another. */
final class Pages<Q, T> implements Iterator<T> {
  private final Function<Q, Page<T>> read;
  private final BiFunction<Q, String, Q> turnTo;
  /** The request for the next page, or null after the last one. */
  private Q following;

  private Iterator<T> items = Collections.emptyIterator();

  /**
   * The items of a page.
   *
   * @param nextToken the page token of the next page; empty on the last page
   */
  record Page<T>(List<T> items, String nextToken) {}

  private Pages(Q first, Function<Q, Page<T>> read, BiFunction<Q, String, Q> turnTo) {
    this.following = first;
    this.read = read;
    this.turnTo = turnTo;
  }

  /** Returns the items of all pages from the first one on. */
  static <Q, T> Stream<T> items(
      Q first, Function<Q, Page<T>> read, BiFunction<Q, String, Q> turnTo) {
    int characteristics = Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE;
    return StreamSupport.stream(
        Spliterators.spliteratorUnknownSize(new Pages<>(first, read, turnTo), characteristics),
        false);
  }

  @Override
  public boolean hasNext() {
    while (!items.hasNext() && following != null) {
      Page<T> page = read.apply(following);
      items = page.items().iterator();
      following = page.nextToken().isEmpty() ? null : turnTo.apply(following, page.nextToken());
    }
    return items.hasNext();
  }

  @Override
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    return items.next();
  }
}
