'use strict'
// The page of a model: takes photos, has engine.js classify them, shows the answers. Names and texts of others are set
// as text, never as HTML.
const MAX_PIXELS = @@max_pixels@@
const MAX_FILE_BYTES = @@max_file_bytes@@
const MAX_RATIO = @@max_ratio@@ // of a photo's sides
const SHOWN_CLASSES = 5
const HEAT = @@heat@@ // colours from little to much evidence
const [OPACITY, OPAQUE_FROM, UNSEEN_LIGHT] = @@heat_shares@@
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]

const element = id => document.getElementById(id)
const {facts, calibration, card, steps} = JSON.parse(element('content').textContent)
const names = facts.classes
const items = [] // photos, the newest batch first: {file, card, answer}
const waiting = []
let engine, outputs, limit = 0, taken = 0, done = 0

const percent = share => {
  const text = (100 * share).toFixed(1)
  return text === '100.0' && share < 1 ? 'over 99.9\u00a0%' : `${text}\u00a0%`
}
const wholePercent = share => `${+(100 * share).toFixed(1)}\u00a0%` // without a zero behind the point
const range = ends => ends.map(end => (100 * end).toFixed(1)).join(' to ')
const interval = ends => ends ? ` (95\u00a0% interval ${range(ends)})` : ''
const make = (tag, text, name) => {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (name) made.className = name
  return made
}

// Where it ends, and its figures; undefined where the model gives no distance.
const noneOfThese = () => outputs?.includes('distance') ? calibration?.none_of_these ?? undefined : undefined

// ---- What the page says of the model

const describe = () => {
  element('name').textContent = facts.name
  const few = names.length > 12 ? names.slice(0, 10) : names
  element('classes').append(...few.map(name => make('bdi', name)))
  if (few.length < names.length) {
    const more = make('button', `and ${names.length - few.length} more`, 'link')
    more.onclick = () => element('classes').replaceChildren(...names.map(name => make('bdi', name)))
    element('classes').append(more)
  }
  const figures = facts.test_figures ?? facts.figures
  if (figures) {
    const set = facts.test_figures ? 'test' : 'validation'
    const clause = !facts.test_figures && facts.optimism?.clause
    element('accuracy').textContent = `Right on ${figures.top1.toFixed(1)}\u00a0% of ${figures.n} ${set} photos` +
      interval(figures.top1_interval?.map(end => end / 100)) + (clause ? `; ${clause}.` : '.')
  }
  showMarkdown(card, element('card'))
}

const explain = () => {
  const none = noneOfThese()
  const sentences = [
    'The bars are the network\'s scores. The scores of all classes add up to 100 %.',
    calibration?.temperature
      ? `How sure an answer is comes from the scores, by a calibration on ${calibration.n} validation photos (temperature ${calibration.temperature.toFixed(2)}). So it differs from the longest bar.`
      : 'An answer is as sure as its score says. This was not calibrated.',
    none
      ? `A photo that is unlike the training photos gets "none of these". This is wrong for ${wholePercent(none.false_alarms)} of photos of the classes${interval(none.false_alarms_interval)}.`
      : 'A photo of something else gets one of these classes too, and may seem sure.',
    'A browser may decode a JPEG slightly otherwise than the training did, by about one level of 255. So scores may differ slightly from those of the command line.',
    `Photos of more than ${MAX_PIXELS / 1e6} megapixels are refused. Transparency is laid on white. An animation counts with its first picture.`,
  ]
  if (facts.value_range) sentences.push('It was trained on photos of more than 8 bits a colour, scaled by the range of their set. A browser cannot scale them so: use the command line for such photos, or those that prepare has converted.')
  if (none?.found) {
    const found = Object.entries(none.found).map(([kind, [count, n]]) => `${count} of ${n} ${kind}`)
    sentences.push(`"None of these" was tried on other pictures: it found ${found.join(', ')}.`)
  }
  if (outputs?.includes('class_maps')) {
    sentences.push('"Where did it look?" shows where the last layer found evidence for a class. Its cells are coarse.')
  }
  element('reading').replaceChildren(...sentences.map(sentence => make('li', sentence)))
}

// Headings, lists, tables, code and paragraphs of a model card, without its YAML block.
const showMarkdown = (text, parent) => {
  const lines = text.replace(/\r/g, '').replace(/^---\n[^]*?\n---\n/, '').replace(/<!--[^]*?-->/g, '').split('\n')
  let block // the list, table, code or paragraph that is open
  const open = tag => {
    if (block?.localName !== tag) parent.append(block = make(tag))
    return block
  }
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]
    if (line.startsWith('```')) {
      const end = lines.findIndex((other, j) => j > i && other.startsWith('```'))
      const last = end < 0 ? lines.length : end
      parent.append(make('pre', lines.slice(i + 1, last).join('\n')))
      block = undefined
      i = last
    } else if (!line.trim()) block = undefined
    else if (/^#+ /.test(line)) {
      parent.append(setInline(make('h3'), line.replace(/^#+ /, '')))
      block = undefined
    } else if (/^[-*] /.test(line)) open('ul').append(setInline(make('li'), line.slice(2)))
    else if (/^\|[-:| ]+\|\s*$/.test(line)) continue // the rule below a table's head
    else if (line.startsWith('|')) {
      const cells = line.trim().slice(1, -1).split(/(?<!\\)\|/).map(cell => cell.trim())
      const row = make('tr')
      row.append(...cells.map(cell => setInline(make(block?.localName === 'table' ? 'td' : 'th'), cell)))
      open('table').append(row)
    } else if (/^\s/.test(line) && block?.localName === 'ul') setInline(block.lastChild, ` ${line.trim()}`)
    else setInline(open('p'), `${line} `)
  }
}

const setInline = (parent, text) => {
  for (const part of text.split(/(`[^`]+`|\*\*(?:\\.|[^*])+\*\*|\[[^\]]+\]\([^)]*\)|\\[^A-Za-z0-9\s])/)) {
    if (/^`.+`$/.test(part)) parent.append(make('code', part.slice(1, -1)))
    else if (/^\*\*.+\*\*$/.test(part)) parent.append(setInline(make('strong'), part.slice(2, -2)))
    else parent.append(part.replace(/^\[([^\]]+)\]\((.*)\)$/, '$1 ($2)').replace(/^\\([^A-Za-z0-9\s])$/, '$1'))
  }
  return parent
}

// ---- The engine

const startEngine = async () => {
  const url = URL.createObjectURL(new Blob([element('engine').textContent], {type: 'text/javascript'}))
  const worker = await new Promise(resolve => {
    try {
      const candidate = new Worker(url)
      candidate.onmessage = () => resolve(candidate)
      candidate.onerror = () => resolve(undefined)
    } catch {
      resolve(undefined)
    }
  })
  if (!worker) {
    await import(url)
    return async (name, input) => {
      await new Promise(resolve => setTimeout(resolve)) // the page draws what has changed
      return window.engineCalls[name](input)
    }
  }
  const pending = new Map()
  let last = 0
  worker.onmessage = ({data: {number, output, error}}) => {
    const {resolve, reject} = pending.get(number)
    pending.delete(number)
    error === undefined ? resolve(output) : reject(new Error(error))
  }
  worker.onerror = event => {
    for (const {reject} of pending.values()) reject(new Error(event.message || 'the worker stopped'))
    pending.clear()
  }
  return (name, input) => new Promise((resolve, reject) => {
    pending.set(++last, {resolve, reject})
    worker.postMessage({number: last, name, input})
  })
}

const load = async () => {
  engine = await startEngine()
  if (document.readyState === 'loading') await new Promise(resolve => addEventListener('DOMContentLoaded', resolve))
  if (!element('end')) throw new Error('the end of the file is missing; copy it again')
  const parts = [...document.querySelectorAll('.parcel')]
  for (const [i, part] of parts.entries()) {
    await engine('receive', {name: part.dataset.name, size: +part.dataset.size, text: part.textContent})
    part.remove() // frees its memory
    element('progress').value = (i + 1) / parts.length
  }
  element('step').textContent = 'Starting the model'
  element('progress').removeAttribute('value')
  outputs = await engine('start')
  element('loading').hidden = true
  explain()
  await classifyWaiting()
}

// ---- Photos

const add = files => {
  const batch = Array.from(files, file => {
    const card = element('result').content.firstElementChild.cloneNode(true)
    card.querySelector('h2').textContent = outputs ? 'Waiting' : 'Waiting for the model'
    card.querySelector('.file').append(make('bdi', file.name))
    return {file, card}
  })
  if (!batch.length) return
  if (taken === done) taken = done = 0
  taken += batch.length
  items.unshift(...batch)
  element('cards').prepend(...batch.map(item => item.card))
  element('results').hidden = false
  waiting.push(...batch)
  summarise()
  element('results').scrollIntoView()
  if (outputs) classifyWaiting()
}

let busy = false
const classifyWaiting = async () => {
  if (busy) return
  busy = true
  for (let item; (item = waiting.shift());) {
    item.card.querySelector('h2').textContent = 'Looking'
    try {
      await check(item.file)
      item.answer = await engine('classify', {file: item.file})
      showPhoto(item)
      showBars(item)
    } catch (error) {
      item.failure = await failureOf(item.file, error)
    }
    done++
    show(item)
    summarise()
  }
  busy = false
}

// The size is looked at before the photo is decoded.
const check = async file => {
  if (file.size > MAX_FILE_BYTES) throw new Error(`The file has ${Math.round(file.size / 2 ** 20)} MiB; at most ${MAX_FILE_BYTES / 2 ** 20} are read.`, {cause: 'said'})
  const url = URL.createObjectURL(file)
  const image = new Image()
  try {
    await new Promise((resolve, reject) => Object.assign(image, {onload: resolve, onerror: () => reject(new Error('undecodable')), src: url}))
    const {naturalWidth: width, naturalHeight: height} = image
    const megapixels = width * height / 1e6
    if (megapixels > MAX_PIXELS / 1e6) {
      throw new Error(`The photo has ${megapixels.toFixed(0)} megapixels; at most ${MAX_PIXELS / 1e6} are read. Save it smaller.`, {cause: 'said'})
    }
    if (Math.max(width, height) > MAX_RATIO * Math.min(width, height)) {
      throw new Error(`The photo is too narrow: ${width} by ${height} pixels.`, {cause: 'said'})
    }
  } finally {
    image.src = ''
    URL.revokeObjectURL(url)
  }
}

const failureOf = async (file, error) => {
  if (error.cause === 'said') return error.message
  if (error.message !== 'undecodable') return `The model failed on this photo (${error.message}). Reload the page and try a smaller photo.`
  if (!file.size) return 'The file is empty. Copy or download it again.'
  const head = await file.slice(0, 16).text().catch(() => undefined)
  if (head === undefined) return 'The file cannot be read. Is it a folder? Choose the photos in it.'
  if (/^.{4}ftyp(hei|hev|mif1|msf1)/s.test(head)) return 'This is a HEIC photo, which this browser cannot open. Save or share it as JPEG.'
  if (/^(II\*\0|MM\0\*)/.test(head)) return 'This is a TIFF file, which this browser cannot open. Save it as JPEG or PNG.'
  if (/^(\xff\xd8|\ufffd\ufffd\ufffd|\ufffdPNG|GIF8|RIFF)/.test(head)) return 'The photo is damaged. Copy or download it again.'
  return 'This is no photo that this browser can open. Save it as JPEG or PNG.'
}

const showPhoto = ({file, card, answer}) => {
  const image = card.querySelector('img')
  image.src = URL.createObjectURL(answer.thumbnail)
  image.alt = file.name
}

// ---- Answers

const confidenceOf = probabilities => {
  const highest = Math.max(...probabilities) // powers of shares of it are never all 0
  return 1 / probabilities.reduce((sum, p) => sum + (p / highest) ** (1 / (calibration?.temperature ?? 1)), 0)
}

const orderOf = scores => Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b)

// Returns {kind, name, confidence}; kind is 'class', 'unsure' or 'none'.
const verdictOf = ({probabilities, distance}) => {
  const name = names[orderOf(probabilities)[0]]
  const confidence = confidenceOf(probabilities)
  const none = noneOfThese()
  if (none && distance > none.limit) return {kind: 'none', name, confidence}
  return {kind: confidence < limit ? 'unsure' : 'class', name, confidence}
}

const show = item => {
  const {card, answer, failure} = item
  const [title, sure] = [card.querySelector('h2'), card.querySelector('.sure')]
  if (failure) {
    card.className = 'failed'
    card.querySelector('.frame').hidden = true
    title.textContent = 'Not classified'
    sure.textContent = failure
    return
  }
  const {kind, name, confidence} = verdictOf(answer)
  card.className = kind === 'class' ? '' : 'unsure'
  title.replaceChildren(make('bdi', {class: name, unsure: 'Not sure', none: 'None of these'}[kind]))
  sure.replaceChildren()
  if (kind === 'class') sure.append(`${percent(confidence)} sure`)
  if (kind === 'unsure') sure.append('Most like ', make('bdi', name), `, but only ${percent(confidence)} sure`)
  if (kind === 'none') sure.append('Unlike the training photos; of the classes it is most like ', make('bdi', name))
}

const showBars = item => {
  const {card, answer: {probabilities}, all} = item
  const order = orderOf(probabilities)
  const hasMaps = outputs.includes('class_maps')
  card.querySelector('.bars').replaceChildren(...order.slice(0, all ? undefined : SHOWN_CLASSES).map(number => {
    const row = make('li')
    const name = make(hasMaps ? 'button' : 'span', undefined, hasMaps ? 'name link' : 'name')
    name.append(make('bdi', names[number]))
    if (hasMaps) {
      name.type = 'button'
      name.title = `Where is evidence for ${names[number]}?`
      name.setAttribute('aria-pressed', item.shown === number)
      name.onclick = () => showMap(item, item.shown === number ? undefined : number)
    }
    const track = make('span', undefined, 'track')
    track.append(make('i'))
    track.firstChild.style.width = `${100 * probabilities[number]}%`
    row.append(name, make('span', percent(probabilities[number]), 'number'), track)
    return row
  }))
  const more = card.querySelector('.all')
  more.hidden = order.length <= SHOWN_CLASSES
  more.textContent = all ? `The best ${SHOWN_CLASSES} only` : `All ${order.length} classes`
  more.onclick = () => { item.all = !all; showBars(item) }
  const map = card.querySelector('.map')
  map.hidden = !hasMaps
  map.setAttribute('aria-pressed', item.shown !== undefined)
  map.textContent = item.shown === undefined ? 'Where did it look?' : 'Hide the map'
  map.onclick = () => showMap(item, item.shown === undefined ? order[0] : undefined)
}

const summarise = () => {
  const counts = new Map()
  const count = title => counts.set(title, (counts.get(title) ?? 0) + 1)
  for (const {answer, failure} of items) {
    if (failure) count('not classified')
    else if (answer) {
      const {kind, name} = verdictOf(answer)
      count({class: name, unsure: 'not sure', none: 'none of these'}[kind])
    }
  }
  const groups = [...counts].sort((a, b) => b[1] - a[1])
  const summary = element('summary')
  summary.replaceChildren(done < taken ? `Photo ${done + 1} of ${taken}` : `${items.length} ${items.length === 1 ? 'photo' : 'photos'}`)
  if (done === taken) {
    groups.slice(0, 6).forEach(([title, n], i) => summary.append(i ? ', ' : ': ', `${n} `, make('bdi', title)))
    const others = groups.slice(6).reduce((sum, [, n]) => sum + n, 0)
    if (others) summary.append(`, ${others} other${others === 1 ? '' : 's'}`)
  }
  element('save').disabled = !items.some(item => item.answer)
}

// ---- Evidence for a class

const showMap = async (item, number) => {
  const {card, file, answer: {width, height}} = item
  const [canvas, legend, image] = ['canvas', '.legend', 'img'].map(selector => card.querySelector(selector))
  item.shown = number
  showBars(item)
  canvas.hidden = legend.hidden = true
  image.classList.toggle('grey', number !== undefined)
  if (number === undefined) return
  legend.hidden = false
  legend.textContent = 'Looking again'
  try {
    item.maps ??= await engine('classMaps', {file})
  } catch (error) {
    legend.textContent = await failureOf(file, error)
    return
  }
  if (item.shown !== number) return // another was asked for meanwhile
  const {rows, columns, maps} = item.maps
  const highest = Math.max(...maps[number])
  const [left, top, right, bottom] = seenPart(width, height)
  legend.replaceChildren(...highest > 0 ? ['Bright: evidence for ', make('bdi', names[number]), '.'] : ['Nothing in the photo speaks for ', make('bdi', names[number]), '.'])
  if (Math.max(left, top, 1 - right, 1 - bottom) > 0.005) legend.append(' Dark edge: cut off, the network does not see it.')
  canvas.hidden = false
  canvas.setAttribute('aria-label', `Map of the evidence for ${names[number]}`)
  ;[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight]
  const heat = ({x, y}) => interpolated(maps[number], rows, columns, x, y) / highest
  drawHeat(canvas.getContext('2d'), seenPart(width, height), highest > 0 ? heat : () => 0)
}

// Draws over a grey photo as `overlay` of flowercls/use/heatmap.py; x and y of `heat` are shares of the part that is seen.
const drawHeat = (context, [left, top, right, bottom], heat) => {
  const {width, height} = context.canvas
  const picture = context.createImageData(width, height)
  for (let row = 0, i = 0; row < height; row++) {
    const y = ((row + 0.5) / height - top) / (bottom - top)
    for (let column = 0; column < width; column++, i += 4) {
      const x = ((column + 0.5) / width - left) / (right - left)
      const isSeen = x >= 0 && x <= 1 && y >= 0 && y <= 1
      const value = isSeen ? Math.max(0, heat({x, y})) : 0
      picture.data.set(isSeen ? colourOf(value) : [0, 0, 0], i)
      picture.data[i + 3] = 255 * (isSeen ? OPACITY * Math.min(1, value / OPAQUE_FROM) : 1 - UNSEEN_LIGHT)
    }
  }
  context.putImageData(picture, 0, 0)
}

const colourOf = value => {
  const place = value * (HEAT.length - 1)
  const [from, to] = [HEAT[Math.floor(place)], HEAT[Math.ceil(place)]]
  return from.map((level, i) => level + (place - Math.floor(place)) * (to[i] - level))
}

// Linear between the centres of cells, constant beyond the outermost.
const interpolated = (map, rows, columns, x, y) => {
  const [row, column] = [[y, rows], [x, columns]].map(([share, count]) => Math.min(count - 1, Math.max(0, share * count - 0.5)))
  const [top, left] = [Math.floor(row), Math.floor(column)]
  const [below, beside] = [Math.ceil(row), Math.ceil(column)]
  const mixed = (y, part) => map[y * columns + left] * (1 - part) + map[y * columns + beside] * part
  return mixed(top, column - left) * (1 - row + top) + mixed(below, column - left) * (row - top)
}

// Left, top, right and bottom of what the test pipeline leaves, as shares of the photo.
const seenPart = (width, height) => {
  let size = [height, width]
  const seen = [1, 1]
  for (const {rule, size: wanted} of steps) {
    if (rule === 'crop') size.forEach((edge, axis) => { seen[axis] *= wanted[axis] / edge })
    const edge = (rule === 'long' ? Math.max : Math.min)(...size)
    const scale = (rule === 'shrink' ? Math.min(wanted[0], edge) : wanted[0]) / edge
    size = ['crop', 'exact'].includes(rule) ? wanted : size.map(side => scale * side)
  }
  const [y, x] = seen.map(share => (1 - share) / 2)
  return [x, y, 1 - x, 1 - y]
}

// ---- Threshold, table, buttons

const start = calibration?.threshold?.confidence ?? 0
const setLimit = value => {
  limit = value
  const {threshold, threshold_reason: reason} = calibration ?? {}
  element('threshold').value = 100 * limit
  element('percent').textContent = wholePercent(limit)
  let meaning = limit ? 'Below it the answer is "not sure".' : 'Every photo gets an answer.'
  if (threshold) {
    const place = limit === start ? 'On' : `At ${wholePercent(start)}, on`
    meaning += ` ${place} the ${calibration.n} validation photos ${wholePercent(threshold.answered)} are answered, and ` +
      `${wholePercent(threshold.right)} of those are right (95\u00a0% intervals ${range(threshold.answered_interval)} and ${range(threshold.right_interval)}).`
  } else meaning += reason ? ` No threshold is suggested: ${reason.replace(/\.?$/, '.')}` : ' No threshold was measured for this model.'
  element('meaning').textContent = meaning
  element('reset').hidden = !threshold || limit === start
  element('reset').textContent = `Back to ${wholePercent(start)}`
  for (const item of items) if (item.answer) show(item)
  summarise()
}

// A spreadsheet runs cells that begin with = + - or @; an apostrophe before them makes them text.
const cell = value => {
  const text = String(value).replace(/^'*[=+\-@\t\r]/, "'$&")
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const table = () => {
  const answered = items.filter(item => item.answer)
  const none = noneOfThese()
  const header = ['image', 'pred', 'confidence', ...none ? ['distance'] : [], ...names.map(name => `score_${name}`)]
  const rows = answered.map(({file, answer}) => {
    const {kind, name, confidence} = verdictOf(answer)
    const numbers = [confidence, ...none ? [answer.distance] : [], ...answer.probabilities]
    return [file.name, {class: name, unsure: 'unknown', none: 'none of these'}[kind], ...numbers.map(n => +n.toPrecision(9))]
  })
  return [header, ...rows].map(row => row.map(cell).join(',') + '\n').join('')
}

const save = () => {
  const link = make('a')
  link.href = URL.createObjectURL(new Blob([table()], {type: 'text/csv'}))
  link.download = 'predictions.csv'
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60000)
}

const clear = () => {
  for (const {card} of items) URL.revokeObjectURL(card.querySelector('img').src)
  waiting.length = items.length = 0
  taken = busy ? 1 : 0
  done = 0
  element('cards').replaceChildren()
  element('results').hidden = true
  element('files').focus()
}

const listen = () => {
  for (const input of [element('files'), element('camera')]) {
    input.onchange = () => {
      add(input.files)
      input.value = '' // so that the same photo can be chosen again
    }
  }
  const isDropping = state => document.body.classList.toggle('dropping', state)
  addEventListener('dragover', event => { event.preventDefault(); isDropping(true) })
  addEventListener('dragleave', event => { if (!event.relatedTarget) isDropping(false) })
  addEventListener('drop', event => { event.preventDefault(); isDropping(false); add(event.dataTransfer.files) })
  addEventListener('paste', event => add(event.clipboardData.files))
  element('threshold').oninput = event => setLimit(event.target.value / 100)
  element('reset').onclick = () => setLimit(start)
  element('save').onclick = save
  element('clear').onclick = clear
  element('licences').ontoggle = async () => {
    const part = document.querySelector('.notices')
    if (!part) return
    const bytes = Uint8Array.from(atob(part.textContent), character => character.charCodeAt(0))
    const text = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text()
    part.remove()
    element('notices').textContent = await text
  }
}

if (typeof DecompressionStream === 'function' && typeof OffscreenCanvas === 'function' && WebAssembly.validate(Uint8Array.from(SIMD))) {
  element('too-old').hidden = true
  element('app').hidden = false
  describe()
  explain()
  setLimit(start)
  listen()
  load().catch(error => {
    element('loading').hidden = true
    element('failure').hidden = false
    element('failure').textContent = `The model does not start in this browser (${error.message}). Open the page in a new Chrome, Edge, Firefox or Safari.`
  })
}
