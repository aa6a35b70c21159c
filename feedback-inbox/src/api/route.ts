/** A route of the JSON API: what it takes and answers is written down once, for the code and for `/openapi.json`. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Visitor } from '../auth/visitor.ts'
import { badParameter } from '../http/filter.ts'
import { visitorOf } from '../http/form.ts'

export interface ApiRoute<Query extends z.ZodObject, Params extends z.ZodObject> {
  readonly method: 'GET' | 'POST'
  /** With parameters as OpenAPI writes them: `/api/admin/events/{id}`. */
  readonly path: string
  readonly summary: string
  readonly description?: string
  readonly access: 'read' | 'admin'
  readonly query?: Query
  readonly params?: Params
  /** Of the JSON answer. */
  readonly answer: z.ZodType
  /** Media types the route answers in beside JSON. */
  readonly otherTypes?: readonly string[]
  handle(asked: {
    readonly query: z.infer<Query>
    readonly params: z.infer<Params>
    /** The parameters as they were sent, for what reads them by itself. */
    readonly search: URLSearchParams
    readonly visitor: Visitor
    readonly request: FastifyRequest
    readonly reply: FastifyReply
  }): unknown
}

/** What the description of the API is made of. */
export type DescribedRoute = Omit<ApiRoute<z.ZodObject, z.ZodObject>, 'handle'>

const nothing = z.object({})

/** @returns what describes it, for {@link ../api/openapi.ts} */
export function addApiRoute<Query extends z.ZodObject = typeof nothing, Params extends z.ZodObject = typeof nothing>(
  app: FastifyInstance,
  route: ApiRoute<Query, Params>,
): void {
  app.apiRoutes.push(route)
  app.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    config: { access: route.access },
    handler: (request, reply) => {
      const search = new URL(request.url, 'http://inbox').searchParams
      return route.handle({
        query: parse(route.query ?? nothing, Object.fromEntries(search)) as z.infer<Query>,
        params: parse(route.params ?? nothing, request.params) as z.infer<Params>,
        search,
        visitor: visitorOf(request),
        request,
        reply,
      })
    },
  })
}

/** @throws UserError (400) that names the parameter */
function parse(schema: z.ZodObject, value: unknown): unknown {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const name = issue?.path.join('.') ?? ''
  throw badParameter(`${name}: ${issue?.message ?? 'is not valid'}`, '/openapi.json says what it takes')
}
