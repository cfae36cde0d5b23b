import { type Tracer, type TracerProvider, trace } from '@opentelemetry/api';

/** Under this name the SDK knows where these spans come from. */
const SCOPE = 'troupe';

/** The provider that stands for the one that may be registered later; copies of the API do not share its class. */
interface StandIn {
  getDelegateTracer(name: string): Tracer | undefined;
}

/**
 * Where spans go: to a provider that was given, or to the one that the application has registered with
 * `@opentelemetry/api`. Without one `on` stays false, and nobody makes a span.
 */
export class Tracing {
  /** Whether somebody takes spans: all that a request asks that is not traced. */
  on = false;
  readonly #given: TracerProvider | undefined;
  #tracer: Tracer | undefined;

  constructor(given?: TracerProvider) {
    this.#given = given;
    this.look();
  }

  /** Only while it is on. */
  get tracer(): Tracer {
    if (this.#tracer === undefined) throw new Error('nobody takes spans');
    return this.#tracer;
  }

  /** Looks whether a provider has been registered since. */
  look(): void {
    if (this.on) return;
    const provider = this.#given ?? trace.getTracerProvider();
    this.#tracer = isStandIn(provider) ? provider.getDelegateTracer(SCOPE) : provider.getTracer(SCOPE);
    this.on = this.#tracer !== undefined;
  }
}

function isStandIn(provider: TracerProvider): provider is TracerProvider & StandIn {
  return 'getDelegateTracer' in provider;
}
