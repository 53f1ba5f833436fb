// Decodes photos and runs the model. page.js starts it as a worker, or imports it where a browser allows no worker.
// A file may start no module as a worker, so this is none.
const TILE = 2048 // pixels; phones limit the size of a canvas
const THUMBNAIL = 640 // pixels of the longer side
const DECODING = {colorSpaceConversion: 'none', imageOrientation: 'from-image', premultiplyAlpha: 'none'}
const parcels = {}
let ort, session

const blobUrl = text => URL.createObjectURL(new Blob([text], {type: 'text/javascript'}))

// A file of the page arrives in parts of base64, so that its text and its bytes are never in memory both, whole.
const receive = async ({name, size, text}) => {
  if (!(name in parcels)) {
    const {readable, writable} = new DecompressionStream('gzip')
    parcels[name] = {writer: writable.getWriter(), content: collect(readable.getReader(), size)}
    parcels[name].content.catch(() => {}) // `start` tells it
  }
  await parcels[name].writer.write(Uint8Array.from(atob(text), character => character.charCodeAt(0)))
}

const collect = async (reader, size) => {
  const content = new Uint8Array(size)
  for (let start = 0; ;) {
    const {done, value} = await reader.read()
    if (done) return content
    content.set(value, start)
    start += value.length
  }
}

const content = async name => {
  const {writer, content} = parcels[name]
  delete parcels[name]
  await writer.close()
  return content
}

// Returns the names of the model's outputs.
const start = async () => {
  ort = await import(blobUrl(await content('runtime')))
  ort.env.wasm.numThreads = 1 // more would need headers that a file does not have
  ort.env.wasm.wasmBinary = (await content('wasm')).buffer
  const options = {executionProviders: ['wasm'], logSeverityLevel: 3} // errors alone
  session = await ort.InferenceSession.create(await content('model'), options)
  return session.outputNames
}

// The canvas is white below the photo: transparency is laid on white, as in training.
const whiteCanvas = (width, height) => {
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', {willReadFrequently: true})
  context.fillStyle = 'white'
  context.fillRect(0, 0, width, height)
  return [canvas, context]
}

// Pixels as they are stored, without resizing: the model's graph does that. Returns uint8 of shape (1, H, W, 3).
const tensorOf = bitmap => {
  const {width, height} = bitmap
  const rgb = new Uint8Array(3 * width * height)
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      const [columns, rows] = [Math.min(TILE, width - left), Math.min(TILE, height - top)]
      const [, context] = whiteCanvas(columns, rows)
      context.drawImage(bitmap, left, top, columns, rows, 0, 0, columns, rows)
      const rgba = context.getImageData(0, 0, columns, rows).data
      for (let row = 0, from = 0; row < rows; row++) {
        for (let column = 0, to = 3 * ((top + row) * width + left); column < columns; column++, from += 4) {
          rgb[to++] = rgba[from]
          rgb[to++] = rgba[from + 1]
          rgb[to++] = rgba[from + 2]
        }
      }
    }
  }
  return new ort.Tensor('uint8', rgb, [1, height, width, 3])
}

// A small JPEG: a hundred cards of whole photos would fill a phone's memory.
const thumbnailOf = bitmap => {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height))
  const [width, height] = [bitmap.width, bitmap.height].map(side => Math.max(1, Math.round(scale * side)))
  const [canvas, context] = whiteCanvas(width, height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, width, height)
  return canvas.convertToBlob({type: 'image/jpeg', quality: 0.85})
}

const run = async bitmap => {
  const photos = tensorOf(bitmap)
  try {
    return await session.run({photos})
  } finally {
    photos.dispose()
  }
}

const opened = async (file, use) => {
  let bitmap
  try {
    bitmap = await createImageBitmap(file, DECODING)
  } catch {
    throw new Error('undecodable')
  }
  try {
    return await use(bitmap)
  } finally {
    bitmap.close()
  }
}

const classify = ({file}) => opened(file, async bitmap => {
  const outputs = await run(bitmap)
  return {
    width: bitmap.width,
    height: bitmap.height,
    probabilities: Array.from(outputs.probabilities.data),
    distance: outputs.distance?.data[0],
    thumbnail: await thumbnailOf(bitmap),
  }
})

// The evidence for each class in each cell of the last stage.
const classMaps = ({file}) => opened(file, async bitmap => {
  const {data, dims: [, classes, rows, columns]} = (await run(bitmap)).class_maps
  return {rows, columns, maps: Array.from({length: classes}, (_, i) => data.slice(i * rows * columns, (i + 1) * rows * columns))}
})

const calls = {receive, start, classify, classMaps}

if (typeof WorkerGlobalScope !== 'undefined' && self instanceof WorkerGlobalScope) {
  self.onmessage = async ({data: {number, name, input}}) => {
    try {
      self.postMessage({number, output: await calls[name](input)})
    } catch (error) {
      self.postMessage({number, error: error?.message ?? String(error)})
    }
  }
  self.postMessage({number: 0})
} else self.engineCalls = calls
