// What pages ask of the frame around them.
import { createContext, useContext } from 'react';

interface Frame {
  /** Tells what happened, for eyes and for screen readers. */
  say: (text: string) => void;
  /** Somebody signed in or out: nothing that was kept of anybody holds any more. */
  changed: () => void;
}

export const FrameContext = createContext<Frame>({ say: () => {}, changed: () => {} });
export const useFrame = () => useContext(FrameContext);
