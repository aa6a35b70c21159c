export { type AttributeName, attribute } from './attributes.ts'
export {
  catalogue,
  type EventFields,
  type EventName,
  eventNames,
  type FieldDescription,
  fieldsOf,
} from './catalogue.ts'
export {
  answerHeader,
  excerptBytesOf,
  type FeedbackBundle,
  type FeedbackTurn,
  feedbackBundle,
  feedbackLimits,
  joinedLines,
  previewAnswers,
  previewHeader,
} from './feedback.ts'
export { type AttributeValue, attributesOf, eventNameOf, isOurEvent, violationsOf } from './mapping.ts'
export {
  actionFamilies,
  type ClientKind,
  clientKinds,
  effectiveClientKind,
  ownReadActions,
  type ResultClass,
  resultClass,
  resultClasses,
} from './vocabulary.ts'
