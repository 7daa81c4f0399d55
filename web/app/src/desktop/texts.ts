const en = {
  title: 'Desktop – Lectern',
  call: 'Call',
  about: 'About',
  apps: 'Apps',
  close: 'Close',
  minimise: 'Minimise',
  maximise: 'Maximise',
  restore: 'Restore',
  theme: 'Light or dark',
  language: '中文',
  languageLabel: 'Switch to Chinese',
  moveHint: 'Arrow keys move the window, Shift and arrow keys resize it',
  aboutTitle: 'A desktop with a call in it',
  aboutText:
    'The Call window is the custom element <lectern-call>: one line in any page. Drag it, resize it, maximise it, put it away: it only receives the pictures it shows, at the size it shows them.',
  aboutKeys: 'Keys in a call',
  keys: [
    ['M', 'Microphone'],
    ['V', 'Camera'],
    ['S', 'Share screen'],
  ] as [string, string][],
  none: 'No invitation',
  noneText: 'Open this page from a link with an invitation in it, like the one that “make run” prints.',
  expired: 'This invitation has expired',
  expiredText: 'Ask for a new link, then open it here.',
  unreadable: 'This invitation cannot be read',
  unreadableText: 'The link is not complete. Copy it again, to its very end.',
  room: (room: string) => `Call – ${room}`,
};

export type DesktopTexts = typeof en;

const zh: DesktopTexts = {
  title: '桌面 – Lectern',
  call: '通话',
  about: '关于',
  apps: '应用',
  close: '关闭',
  minimise: '最小化',
  maximise: '最大化',
  restore: '还原',
  theme: '浅色或深色',
  language: 'EN',
  languageLabel: '切换到英文',
  moveHint: '方向键移动窗口，Shift 加方向键调整大小',
  aboutTitle: '带有通话的桌面',
  aboutText:
    '通话窗口就是自定义元素 <lectern-call>，任何网页只需一行即可嵌入。可以拖动、缩放、最大化或收起，它只按显示的尺寸接收正在显示的画面。',
  aboutKeys: '通话快捷键',
  keys: [
    ['M', '麦克风'],
    ['V', '摄像头'],
    ['S', '共享屏幕'],
  ],
  none: '没有邀请',
  noneText: '请使用带有邀请的链接打开此页面，例如 “make run” 输出的链接。',
  expired: '邀请已过期',
  expiredText: '请索取新的链接并在此打开。',
  unreadable: '无法读取邀请',
  unreadableText: '链接不完整，请完整复制后再试。',
  room: (room) => `通话 – ${room}`,
};

export type Language = 'en' | 'zh';
export const TEXTS: Record<Language, DesktopTexts> = { en, zh };

export function languageOf(tag: string): Language {
  return /^zh\b/i.test(tag) ? 'zh' : 'en';
}
