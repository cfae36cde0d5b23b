/**
 * A typedoc plugin: of a statechart's type it shows context and events. XState's `StateMachine` has fourteen parameters, and
 * the others list every action and guard by name, pages before the first sentence of the comment.
 */
import { Converter, ReferenceType, ReflectionKind } from 'typedoc';

const SHOWN = 2;

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const declaration of project.getReflectionsByKind(
      ReflectionKind.Variable | ReflectionKind.Property,
    )) {
      const { type } = declaration;
      if (!(type instanceof ReferenceType)) continue;
      for (const hidden of shorten(type)) project.removeTypeReflections(hidden);
    }
  });
}

/** Gives back what was cut off. */
function shorten(type) {
  if (type.typeArguments === undefined) return [];
  if (type.name === 'StateMachine') return type.typeArguments.splice(SHOWN);
  return type.typeArguments.flatMap((inner) => (inner instanceof ReferenceType ? shorten(inner) : []));
}
